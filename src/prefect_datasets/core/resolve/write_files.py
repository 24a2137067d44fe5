"""From a buffer to files: the hot loop of a resolve, a few microseconds for each file."""

from __future__ import annotations

import os
from hashlib import sha256
from itertools import repeat

from prefect_datasets.core.cache.folders import explain
from prefect_datasets.core.checksum import crc32_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prefect_datasets.core.cache.folders import Folders

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Contents:
    """Files in one buffer, as lists of the same length.

    Args:
        paths: Paths in the tree.
        starts: Where in the buffer each begins.
        ends: Where each ends.
        digests: SHA-256 of each; None where it is not known what they should be.
        crc32s: CRC-32 of each; None likewise.
    """

    __slots__ = ("crc32s", "digests", "ends", "paths", "starts")

    def __init__(
        self,
        paths: Sequence[str],
        starts: Sequence[int],
        ends: Sequence[int],
        digests: Sequence[bytes] | None,
        crc32s: Sequence[int] | None,
    ) -> None:
        self.paths = paths
        self.starts = starts
        self.ends = ends
        self.digests = digests
        self.crc32s = crc32s

    def columns(self) -> tuple[Sequence[object] | None, ...]:
        """Return what this was made of."""
        return self.paths, self.starts, self.ends, self.digests, self.crc32s

    def __getitem__(self, which: slice) -> Contents:
        """Return some of the files."""
        return Contents(
            self.paths[which],
            self.starts[which],
            self.ends[which],
            None if self.digests is None else self.digests[which],
            None if self.crc32s is None else self.crc32s[which],
        )


def damaged(contents: Contents, buffer: memoryview) -> set[int]:
    """Return the numbers of the files whose bytes are not what was published."""
    if contents.digests is None:
        return set()
    crc32s = contents.crc32s or repeat(None, len(contents.digests))
    columns = zip(contents.starts, contents.ends, contents.digests, crc32s, strict=True)
    bad: set[int] = set()
    for number, (start, end, digest, crc) in enumerate(columns):
        data = buffer[start:end]
        if sha256(data).digest() != digest or (crc is not None and crc32_of(data, 0) != crc):
            bad.add(number)
    return bad


def write_files(
    contents: Contents, buffer: memoryview, folders: Folders, root: Path | str
) -> list[int]:
    """Write files into a tree, read-only; return the numbers of those that are damaged instead.

    Args:
        contents: The files.
        buffer: Their bytes.
        folders: The tree's folders.
        root: The tree's path, for errors.
    """
    bad = damaged(contents, buffer)
    create, write, close, enter = os.open, os.write, os.close, folders.get
    current = None
    folder = 0
    path = ""
    columns = zip(contents.paths, contents.starts, contents.ends, strict=True)
    try:
        for number, (path, start, end) in enumerate(columns):
            if bad and number in bad:
                continue
            parent, _, name = path.rpartition("/")
            if parent != current:
                folder = enter(parent)
                current = parent
            handle = create(name, NEW_FILE, 0o444, dir_fd=folder)
            try:
                if start < end and write(handle, buffer[start:end]) < end - start:
                    _rewrite(handle, buffer[start:end])
            finally:
                close(handle)
    except FileNotFoundError:  # the attempt was deleted
        raise
    except OSError as error:
        raise explain(error, path, root) from error
    return sorted(bad)


def _rewrite(handle: int, data: memoryview) -> None:
    """Write all of a file of which only a beginning was taken; a full disk says so now."""
    os.ftruncate(handle, 0)
    write_at(handle, data, 0)


def write_at(handle: int, data: memoryview, start: int) -> None:
    """Write all of `data` at a place in a file."""
    while data:
        n_written = os.pwrite(handle, data, start)
        data = data[n_written:]
        start += n_written
