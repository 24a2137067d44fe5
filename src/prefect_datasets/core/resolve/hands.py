"""What one thread holds open while it fills a tree."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from prefect_datasets.core.cache.folders import Folders


class Hands:
    """What one thread holds open: the tree it makes, and those it links from."""

    def __init__(self, target: Path) -> None:
        self.target = Folders(target, make=True)
        self._sources: dict[Path, Folders] = {}

    def source(self, files: Path) -> Folders:
        """Return the folders of a tree to link from."""
        if files not in self._sources:
            self._sources[files] = Folders(files)
        return self._sources[files]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for folders in (self.target, *self._sources.values()):
            folders.close()
