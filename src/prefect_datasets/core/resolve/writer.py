"""The process that writes and links files for a resolve, with as few imports as that takes.

A message is `(root, what, fields)` as marshal writes it. The answer is `(numbers, made)`, or the
error (`core.processes`): which of the files are damaged, or have no source any more, and which
folders were made. For `TREE` the numbers are those of the files that were linked: how many, and
the sum of their `name_checksum`s.
"""

from __future__ import annotations

import marshal
import os
from itertools import repeat
from zlib import crc32

from prefect_datasets.core.cache.folders import Folders
from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.processes import done, raised
from prefect_datasets.core.resolve.link import link_files
from prefect_datasets.core.resolve.write_files import Contents, write_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

WRITE = "write"
LINK = "link"
TREE = "tree"

_MADE: set[str] = set()
_TARGETS: dict[str, Folders] = {}
_SOURCES: dict[str, Folders] = {}
# Tree -> its folders, and whether there are none in them.
_FOLDERS: dict[str, list[tuple[str, bool]]] = {}
_LINKS_OF_A_LEAF = 2  # its name, and `.`; each folder in it would add its `..`


def answer(message: bytes, memory: memoryview) -> bytes:
    """Do what a message says, with files that lie in the shared memory."""
    root, what, fields = marshal.loads(message)  # noqa: S302  from the parent
    _MADE.clear()  # of an order that failed: what it made is taken back
    try:
        if what == WRITE:
            numbers = _write(root, memory, *fields)
        else:
            numbers = _link(root, *fields) if what == LINK else _link_tree(root, *fields)
    except (DatasetError, OSError) as error:
        return raised(error)
    return done((numbers, sorted(_MADE)))


def _write(root: str, memory: memoryview, first: int, end: int, *columns: Any) -> list[int]:
    return write_files(Contents(*columns), memory[first:end], _target(root), root)


def _link(root: str, source: str, old: list[str], new: list[str]) -> list[int]:
    if source not in _SOURCES:
        _SOURCES[source] = Folders(source)
    return link_files(zip(old, new, strict=True), _SOURCES[source], _target(root), root)


def name_checksum(paths: Iterable[bytes], begin: int = 0) -> int:
    """Return a checksum of names in any order; `begin` is that of what stands before each."""
    return sum(map(crc32, paths, repeat(begin)))


def _link_tree(root: str, source: str, turn: int, n_turns: int) -> tuple[int, int]:
    """Link the files of some folders of another tree; raise where one can't be linked."""
    if source not in _FOLDERS:
        _FOLDERS[source] = list(_folders(source))
    n_files, checksum, link = 0, 0, os.link
    # None of its folders stays open: some of them are removed when this is done.
    with Folders(source) as old, Folders(root, make=True, made=_MADE) as new:
        for folder, is_leaf in _FOLDERS[source][turn::n_turns]:
            here = old.get(folder)
            names = os.listdir(here) if is_leaf else _files_in(here)  # noqa: PTH208  (a handle)
            there = new.get(folder) if names else -1
            for name in names:
                link(name, name, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
            n_files += len(names)
            begin = crc32(f"{folder}/".encode()) if folder else 0
            checksum += name_checksum(map(str.encode, names), begin)
    return n_files, checksum


def _folders(root: str, folder: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the folders of a tree; those without folders in them are not read for it.

    Where a file system counts links of folders in another way, either all are read, or a folder is
    taken for a file, which can't be linked.
    """
    is_leaf = os.stat(f"{root}/{folder}").st_nlink == _LINKS_OF_A_LEAF  # noqa: PTH116
    yield folder, is_leaf
    if not is_leaf:
        with os.scandir(f"{root}/{folder}") as found:
            inside = [item.name for item in found if item.is_dir(follow_symlinks=False)]
        for name in inside:
            yield from _folders(root, f"{folder}/{name}" if folder else name)


def _files_in(folder: int) -> list[str]:
    with os.scandir(folder) as found:
        return [item.name for item in found if not item.is_dir(follow_symlinks=False)]


def _target(root: str) -> Folders:
    if root not in _TARGETS:
        _TARGETS[root] = Folders(root, make=True, made=_MADE)
    return _TARGETS[root]
