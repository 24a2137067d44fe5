"""What of a step's output a run's log gets: all where it is little, a picture where it is much.

A server keeps each line as a row of a database, so a million lines are too many for it. The whole
output is in a file of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from prefect_datasets.valohai.running.log_lines import readable

# Line by line up to here, and after that as many as come in again with the time.
_BURST_LINES = 1_000
_LINES_PER_SECOND = 10.0
_MOST_CHARACTERS = 10_000

# The rest in blocks: the first and the last lines of some seconds, of more seconds the longer it
# goes on.
_SIDE_LINES = 25
_BLOCK_CHARACTERS = 400
_BLOCK_SECONDS = 1.0
_MOST_BLOCK_SECONDS = 60.0
_SLOWER = 1.1


class Throttle:
    """Decides what is shown of lines, and when; it looks at no clock of its own.

    Args:
        now: The time, in seconds; any clock that goes on.
    """

    def __init__(self, now: float) -> None:
        self.n_left_out = 0
        self._allowance = float(_BURST_LINES)
        self._counted = now
        self._block = _Block()
        self._block_seconds = _BLOCK_SECONDS
        self._block_due = 0.0

    def take(self, lines: Sequence[bytes], now: float) -> list[str]:
        """Take lines; return the texts to show now."""
        shown = self.flush(now)
        since = now - self._counted
        self._allowance = min(self._allowance + since * _LINES_PER_SECOND, _BURST_LINES)
        self._counted = now
        # While a block is open its lines come before new ones.
        n_single = 0 if self._block.n_lines else min(int(self._allowance), len(lines))
        self._allowance -= n_single
        shown += [readable(line, _MOST_CHARACTERS) for line in lines[:n_single]]
        if n_single < len(lines):
            if not self._block.n_lines:
                self._block_due = now + self._block_seconds
            self._block.add(lines[n_single:])
        return shown

    def flush(self, now: float) -> list[str]:
        """Return the block that is due, if one is."""
        return self.finish() if self._block.n_lines and now >= self._block_due else []

    def finish(self) -> list[str]:
        """Return what is left to show."""
        if not self._block.n_lines:
            return []
        self.n_left_out += self._block.n_left_out
        self._block_seconds = min(self._block_seconds * _SLOWER, _MOST_BLOCK_SECONDS)
        text, self._block = self._block.text(), _Block()
        return [text]


class _Block:
    """Lines that are shown together: the first and the last of them."""

    def __init__(self) -> None:
        self.n_lines = 0
        self._head: list[bytes] = []
        self._tail: deque[bytes] = deque(maxlen=_SIDE_LINES)

    @property
    def n_left_out(self) -> int:
        """How many lines it does not show."""
        return self.n_lines - len(self._head) - len(self._tail)

    def add(self, lines: Sequence[bytes]) -> None:
        """Add lines."""
        self.n_lines += len(lines)
        n_head = max(_SIDE_LINES - len(self._head), 0)
        self._head += lines[:n_head]
        self._tail.extend(lines[n_head:][-_SIDE_LINES:])

    def text(self) -> str:
        """Return the lines as one text."""
        between = [f"… {self.n_left_out:,} lines left out …"] if self.n_left_out else []
        return "\n".join([*self._shown(self._head), *between, *self._shown(self._tail)])

    def _shown(self, lines: Sequence[bytes] | deque[bytes]) -> list[str]:
        return [readable(line, _BLOCK_CHARACTERS) for line in lines]
