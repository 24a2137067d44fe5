"""What a step prints, as lines: of bounded length, printable, whatever the bytes are."""

from __future__ import annotations

import re

# A line that is longer is shown, and read as metadata, in pieces of this length.
MOST_BYTES = 1 << 18
_SECONDS_BETWEEN_BARS = 10.0

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = {number: "�" for number in (*range(32), 127, *range(128, 160)) if chr(number) != "\t"}


class LineCutter:
    """Cuts one stream into lines; never holds more than `MOST_BYTES`.

    A progress bar, which returns to the start of its line again and again, is a line every ten
    seconds, and as it was when its line ended.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._bar_at = 0.0

    def feed(self, data: bytes, now: float) -> list[bytes]:
        """Take bytes; return the lines that ended, without their ends.

        Args:
            data: What was printed.
            now: The time, in seconds.
        """
        text = self._rest + data
        lines = text.split(b"\n")
        self._rest = lines.pop()
        if b"\r" in text:
            lines = [_last_of_bar(line) for line in lines]
            lines += self._bar(now)
        if len(self._rest) > MOST_BYTES:
            lines += self._pieces()
        return lines

    def finish(self) -> list[bytes]:
        """Return the line that never ended, if there is one."""
        rest, self._rest = _last_of_bar(self._rest), b""
        return [rest] if rest else []

    def _bar(self, now: float) -> list[bytes]:
        """Forget what a progress bar wrote over; return it if it is time to show it again."""
        old, separator, new = self._rest.rpartition(b"\r")
        if not separator or not old:
            return []
        if not new:
            # The next byte may be the end of the line that this is the end of on Windows.
            self._rest = old.rpartition(b"\r")[2] + b"\r"
        else:
            self._rest = new
        if now - self._bar_at < _SECONDS_BETWEEN_BARS:
            return []
        self._bar_at = now
        return [old.rpartition(b"\r")[2]]

    def _pieces(self) -> list[bytes]:
        whole = len(self._rest) // MOST_BYTES * MOST_BYTES
        text, self._rest = self._rest[:whole], self._rest[whole:]
        return [text[start : start + MOST_BYTES] for start in range(0, whole, MOST_BYTES)]


def _last_of_bar(line: bytes) -> bytes:
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def readable(line: bytes, most: int) -> str:
    """Return a line as text that any log takes, of `most` characters."""
    text = line[: most * 4 + 64].decode(errors="replace")
    text = _ESCAPES.sub("", text).translate(_CONTROLS)
    if len(text) <= most and len(line) <= most * 4 + 64:
        return text
    return f"{text[:most]} … ({len(line):,} bytes)"
