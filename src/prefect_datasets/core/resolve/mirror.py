"""The tree of another version, linked whole while what decides about files is still loaded.

Loading takes one processor a third of a second; in it another links 50,000 files. Most of the
files of a version are those of the version before, so little of that is taken back afterwards.
Where they turn out not to be, it is given up and taken back.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from typing import TYPE_CHECKING, Self

from prefect_datasets.core.cache import leases
from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.resolve.others import is_whole_version, other_trees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType

    from prefect_datasets.core.cache.cache import Cache, Entry
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.resolve.writers import Writers

# Of more files the plans of all parts would be large in memory, and loading is a small share.
_MOST_FILES = 300_000
# What the work is cut into, so that processes that become free can join.
_N_TURNS = 16


class Mirror:
    """Links another tree as it is, in processes; whoever leaves the block waits for its end.

    Args:
        cache: The cache the other tree is in.
        source: The other tree; None to do nothing.
        target: The tree in the making; empty.
        writers: Who links.
    """

    def __init__(
        self, cache: Cache, source: Entry | None, target: Path, *, writers: Writers
    ) -> None:
        self._cache = cache
        self._source = source if writers.n_processes else None
        self._target = target
        self._writers = writers
        self._turns = itertools.count()
        self._threads: list[threading.Thread] = []
        self._lease: Path | None = None
        self._linked = (0, 0)
        self._is_whole = True
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._source is not None:
            self._lease = self._cache.lease(self._source)
            self._start(max(1, self._writers.n_processes // 2))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_whole = self._is_whole and kind is None
        for thread in self._threads:
            thread.join()
        if self._lease is not None:
            leases.give_back(self._lease)

    @property
    def tree(self) -> Path | None:
        """The tree that is being linked; None where nothing is."""
        return None if self._source is None else self._source.files

    def take(self, n_files: int, name_checksum: Callable[[], int]) -> bool:
        """Wait until all of it is linked; where it can't be, leave nothing and return False.

        Args:
            n_files: How many files there are by its tables.
            name_checksum: Returns the sum of their `name_checksum`s, called while they are linked:
                somebody may have renamed one.
        """
        if self._source is None:
            return False
        self._start(self._writers.n_processes - len(self._threads))
        checksum = name_checksum()
        for thread in self._threads:
            thread.join()
        ready = self._source.read_ready() if self._lease else None
        if self._is_whole and ready is not None and self._linked == (n_files, checksum):
            return True
        self._clear()
        return False

    def give_up(self) -> None:
        """Stop, and remove what was linked."""
        self._is_whole = False
        for thread in self._threads:
            thread.join()
        self._clear()

    def _start(self, n_threads: int) -> None:
        for _ in range(n_threads):
            thread = threading.Thread(target=self._work, name="mirror", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        assert self._source is not None
        while self._is_whole and (turn := next(self._turns)) < _N_TURNS:
            try:
                n_files, checksum = self._writers.link_tree(self._source.files, turn, _N_TURNS)
            except (DatasetError, OSError):  # no links here, no room, gone: the general way knows
                self._is_whole = False
                return
            with self._lock:
                self._linked = (self._linked[0] + n_files, self._linked[1] + checksum)

    def _clear(self) -> None:
        for name in os.listdir(self._target):  # noqa: PTH208  (names are enough)
            path = self._target / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        self._writers.made.clear()


def tree_before(cache: Cache, entry: Entry, record: VersionRecord) -> Entry | None:
    """Return the whole tree that a version is most likely to be like, if there is one."""
    if record.n_files > _MOST_FILES:
        return None
    for other in other_trees(cache, entry, record):
        ready = other.read_ready() if is_whole_version(other) else None
        if ready and not ready.is_of_earlier_boot:
            is_like_it = record.n_files / 2 <= ready.n_files <= record.n_files * 2
            return other if is_like_it else None
    return None


def remove(root: Path, paths: Iterable[str], made: set[str]) -> None:
    """Remove files of a tree in the making, and the folders that are empty then.

    Args:
        root: The tree.
        paths: The files.
        made: The folders that were made in it; those that go are taken out.
    """
    folders: set[str] = set()
    for path in paths:
        os.unlink(f"{root}/{path}")  # noqa: PTH108  (there are many)
        folders.add(path.rpartition("/")[0])
    for folder in folders:
        _remove_empty(root, folder, made)


def _remove_empty(root: Path, folder: str, made: set[str]) -> None:
    """Remove a folder, and those it is in, as far as nothing is in them."""
    while folder:
        try:
            (root / folder).rmdir()
        except OSError:  # not empty, or gone already
            return
        made.discard(folder)
        folder = folder.rpartition("/")[0]
