"""Who is told how far the work is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told of work done; called from several threads at once, so it must be quick and safe."""

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None:
        """Begin a stage such as `packaging` or `fetching`, of so many files and bytes in all."""

    def advance(self, *, n_files: int, n_bytes: int) -> None:
        """Count files and bytes as done in the stage that began last."""

    def note(self, message: str) -> None:
        """Say one line to the user: a package uploaded, a version committed."""

    def warn(self, message: str) -> None:
        """Say one line that the user should look at."""


class NoProgress:
    """Tells nobody."""

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None: ...

    def advance(self, *, n_files: int, n_bytes: int) -> None: ...

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things: `1 file`, `1,797 files`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_bytes(n_bytes: int) -> str:
    """Write a size as people read it, in powers of 1000: `15 GB`, `2.5 MB`, `512 B`."""
    size, units = float(n_bytes), ["B", "kB", "MB", "GB", "TB", "PB"]
    while size >= 999.5 and len(units) > 1:  # 999.6 would be written as 1000
        size /= 1000
        units.pop(0)
    text = f"{size:.1f}" if size < 9.95 and units[0] != "B" else f"{size:.0f}"
    return f"{text.removesuffix('.0')} {units[0]}"
