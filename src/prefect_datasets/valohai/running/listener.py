"""Hears what a step prints: the whole of it into a file, a readable part into the run's log."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prefect_datasets.valohai.running.log_lines import LineCutter, readable
from prefect_datasets.valohai.running.step_metadata import StepMetadata
from prefect_datasets.valohai.running.throttle import Throttle

if TYPE_CHECKING:
    from prefect_datasets.valohai.running.process import Stream
    from prefect_datasets.valohai.running.runner import StepLog

# What is printed beyond this is in no file either.
MOST_LOG_BYTES = 1 << 30
_LAST_LINES = 20
_LAST_CHARACTERS = 1_000


class Listener:
    """Hears one step; leaving the block shows the rest.

    Args:
        file: Where the whole output goes.
        log: Is shown a part.
    """

    def __init__(self, file: Path, log: StepLog) -> None:
        self.metadata = StepMetadata()
        self._log = log
        self._file = file.open("wb", buffering=0)
        self._room = MOST_LOG_BYTES
        self._cutters: dict[Stream, LineCutter] = {"stdout": LineCutter(), "stderr": LineCutter()}
        self._throttle = Throttle(time.monotonic())
        self._last: dict[Stream, deque[bytes]] = {
            "stdout": deque(maxlen=_LAST_LINES),
            "stderr": deque(maxlen=_LAST_LINES),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream, cutter in self._cutters.items():
            self._take(stream, cutter.finish())
        self._show(self._throttle.finish())
        self._file.close()

    def hear(self, stream: Stream, data: bytes) -> None:
        """Take what was printed."""
        self._write(data)
        self._take(stream, self._cutters[stream].feed(data, time.monotonic()))

    def tick(self) -> None:
        """Show what is due."""
        self._show(self._throttle.flush(time.monotonic()))

    @property
    def n_left_out(self) -> int:
        """How many lines the log does not show."""
        return self._throttle.n_left_out

    def last_words(self) -> list[str]:
        """Return what was printed last; what went to standard error counts as later."""
        lines = [*self._last["stdout"], *self._last["stderr"]]
        return [readable(line, _LAST_CHARACTERS) for line in lines]

    def _take(self, stream: Stream, lines: list[bytes]) -> None:
        if not lines:
            return
        if stream == "stdout":
            for line in lines:
                if line[:1] in b"{ \t":
                    self.metadata.read(line)
        self._last[stream].extend(lines[-_LAST_LINES:])
        self._show(self._throttle.take(lines, time.monotonic()))

    def _show(self, texts: list[str]) -> None:
        for text in texts:
            self._log.line(text)

    def _write(self, data: bytes) -> None:
        if self._room <= 0:
            return
        self._room -= len(data)
        try:
            self._file.write(data)
        except OSError as error:
            self._room = 0
            self._log.warn(f"The whole log ends here: it can't be written ({error.strerror})")
            return
        if self._room <= 0:
            with suppress(OSError):
                self._file.write(b"\n(the rest is left out)\n")
            self._log.warn(f"The whole log ends here: it has {MOST_LOG_BYTES:,} bytes")
