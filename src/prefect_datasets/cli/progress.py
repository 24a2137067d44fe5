"""A progress bar on the terminal, drawn on standard error.

Its import costs nothing, unlike that of the libraries that draw better ones: a warm resolve is to
take no longer than the interpreter's start.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from prefect_datasets.core.progress import format_bytes

if TYPE_CHECKING:
    from collections.abc import Generator

    from prefect_datasets.core.progress import Progress

_REDRAW_SECONDS = 0.1
_BAR_WIDTH = 24
_COLUMNS = 80  # of a terminal that does not tell


class ProgressBar:
    """One line that is redrawn in place; notes and warnings are printed above it.

    Args:
        stream: A terminal.
        unit: What is counted beside bytes.
    """

    def __init__(self, stream: TextIO, *, unit: str = "files") -> None:
        self._stream = stream
        self._unit = unit
        self._lock = threading.Lock()
        self._what = ""
        self._n_files = self._files_done = 0
        self._n_bytes = self._bytes_done = 0
        self._began = self._drawn = 0.0

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None:
        """Begin a stage; the bar of the one before stays as it is, on a line of its own."""
        with self._lock:
            self._finish()
            self._what = what
            self._n_files, self._n_bytes = n_files, n_bytes
            self._files_done = self._bytes_done = 0
            self._began = time.monotonic()
            self._draw()

    def rename(self, what: str) -> None:
        """Say something else in front of the bar, which goes on."""
        with self._lock:
            self._what = what
            self._draw()

    def advance(self, *, n_files: int, n_bytes: int) -> None:
        """Count work as done and redraw, at most ten times a second."""
        with self._lock:
            self._files_done += n_files
            self._bytes_done += n_bytes
            if time.monotonic() - self._drawn >= _REDRAW_SECONDS:
                self._draw()

    def note(self, message: str) -> None:
        """Print a line above the bar."""
        with self._lock:
            self._above(message)

    def warn(self, message: str) -> None:
        """Print a warning above the bar."""
        with self._lock:
            self._above(f"warning: {message}")

    def close(self) -> None:
        """Leave the cursor on a line of its own."""
        with self._lock:
            self._finish()

    def _above(self, message: str) -> None:
        self._stream.write(f"\r\x1b[K{message}\n")
        if self._what:
            self._draw()
        self._stream.flush()

    def _finish(self) -> None:
        if self._what:
            self._draw()
            self._stream.write("\n")
            self._stream.flush()
            self._what = ""

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._stream.write(f"\r{self._line()[: _columns(self._stream) - 1]}\x1b[K")
        self._stream.flush()

    def _line(self) -> str:
        seconds = max(self._drawn - self._began, 1e-3)
        done, whole = self._bytes_done, self._n_bytes
        if not whole:
            done, whole = self._files_done, self._n_files
        share = min(done / whole, 1.0) if whole else 1.0
        filled = round(share * _BAR_WIDTH)
        bar = "#" * filled + "-" * (_BAR_WIDTH - filled)
        files = f"{self._files_done:,}/{self._n_files:,} {self._unit}" if self._n_files else ""
        speed = f"{format_bytes(round(self._bytes_done / seconds))}/s" if self._n_bytes else ""
        parts = (f"{self._what} [{bar}] {share:4.0%}", files, self._bytes(), speed, _clock(seconds))
        return "  ".join(part for part in parts if part)

    def _bytes(self) -> str:
        return (
            f"{format_bytes(self._bytes_done)}/{format_bytes(self._n_bytes)}"
            if self._n_bytes
            else ""
        )


class WarningsOnly:
    """Prints warnings and nothing else: standard error is no terminal, or the user wants quiet."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None:
        """Say nothing."""

    def advance(self, *, n_files: int, n_bytes: int) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def warn(self, message: str) -> None:
        """Print a warning."""
        self._stream.write(f"warning: {message}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing to close."""


@contextmanager
def open_progress() -> Generator[ProgressBar | WarningsOnly]:
    """Give a bar where standard error is a terminal, and what prints only warnings elsewhere."""
    progress = ProgressBar(sys.stderr) if sys.stderr.isatty() else WarningsOnly(sys.stderr)
    try:
        yield progress
    finally:
        progress.close()


def _columns(terminal: TextIO) -> int:
    try:
        return os.get_terminal_size(terminal.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


if TYPE_CHECKING:
    _checked: tuple[type[Progress], ...] = (ProgressBar, WarningsOnly)
