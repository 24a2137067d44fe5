"""What one thread holds open while it fills a tree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from prefect_datasets.core.cache.folders import Folders

if TYPE_CHECKING:
    from prefect_datasets.core.store import Range, Store
    from prefect_datasets.core.store.base import Reader

# Most reads are shorter; what of it is never written to takes no memory.
_READ_BYTES = 8 << 20


def _memory(n_bytes: int) -> memoryview:
    return memoryview(bytearray(n_bytes))


class Hands:
    """What one thread holds open: the tree it makes, those it links from, what it reads into.

    Args:
        target: The tree.
        store: Where it reads; None for who only links.
        made: Gets the folders that are made in the tree.
        lend: Lends the memory to read into.
    """

    def __init__(
        self,
        target: Path,
        store: Store | None = None,
        *,
        made: set[str] | None = None,
        lend: Callable[[int], memoryview] = _memory,
    ) -> None:
        self.target = Folders(target, make=True, made=made)
        self._store = store
        self._lend = lend
        self._sources: dict[Path, Folders] = {}
        self._reader: Reader | None = None
        self._buffer = memoryview(b"")

    def source(self, files: Path) -> Folders:
        """Return the folders of a tree to link from."""
        if files not in self._sources:
            self._sources[files] = Folders(files)
        return self._sources[files]

    def read(self, wanted: Range, begun: memoryview) -> memoryview:
        """Return stored bytes, which are good until the next call; raises as the store does.

        Args:
            wanted: Which.
            begun: The first of them, where they are there already.
        """
        assert self._store is not None
        if len(begun) == wanted.length:
            return begun
        if self._reader is None:
            self._reader = self._store.reader()
        if len(self._buffer) < wanted.length:  # fresh memory costs as much as what comes into it
            self._buffer = self._lend(max(wanted.length, _READ_BYTES))
        data = self._buffer[: wanted.length]
        data[: len(begun)] = begun
        self._reader.read_into(wanted.key, wanted.start + len(begun), data[len(begun) :])
        return data

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
        if self._reader is not None:
            self._reader.close()
