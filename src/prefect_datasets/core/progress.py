"""Who is told how far the work is."""

from __future__ import annotations

from typing import Protocol

from prefect_datasets.core.amounts import count, format_bytes

__all__ = ["NoProgress", "Progress", "count", "format_bytes"]


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
