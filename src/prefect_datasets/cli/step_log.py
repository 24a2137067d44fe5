"""A step on the terminal: all it prints goes to standard error, as it comes."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from prefect_datasets.cli.progress import ProgressBar

if TYPE_CHECKING:
    from collections.abc import Generator

    from prefect_datasets.valohai.running.runner import StepLog
    from prefect_datasets.valohai.running.step_inputs import StepInput


class TerminalLog:
    """Prints lines, and draws a bar between them where there is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar = ProgressBar(stream) if stream.isatty() else None

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None:
        """Draw a bar."""
        if self._bar:
            self._bar.start(what, n_files=n_files, n_bytes=n_bytes)

    def advance(self, *, n_files: int, n_bytes: int) -> None:
        """Redraw it."""
        if self._bar:
            self._bar.advance(n_files=n_files, n_bytes=n_bytes)

    def note(self, message: str) -> None:
        """Print a line; the bar goes on below it."""
        if self._bar:
            self._bar.note(message)
        else:
            self.line(message)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self.note(f"warning: {message}")

    def brought(self, found: StepInput) -> None:
        """Say nothing: the engine has noted it."""

    def line(self, text: str) -> None:
        """Print what the step printed; what the terminal can't write is shown escaped."""
        self.close()
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._bar:
            self._bar.close()


@contextmanager
def open_log() -> Generator[TerminalLog]:
    """Give a log on standard error."""
    log = TerminalLog(sys.stderr)
    try:
        yield log
    finally:
        log.close()


if TYPE_CHECKING:
    _checked: type[StepLog] = TerminalLog
