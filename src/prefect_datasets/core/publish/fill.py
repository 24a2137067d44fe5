"""Fill a piece of a package with files of this machine, and hash them on the way.

Processes of their own do this for large parts (`packer`), so what is imported here is light:
neither numpy nor Arrow.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from prefect_datasets.core.checksum import crc32_of
from prefect_datasets.core.errors import InvalidInputError, SourceChangedError
from prefect_datasets.core.format.local_header import local_header_bytes, pack_header_into

# What goes to a file is written while the processor's cache has it.
_WRITE_BYTES = 512 << 10

Member = tuple[bytes, int, int, int]


class Batch(NamedTuple):
    """Files to be read, as few objects: it is sent to another process for each piece.

    Attributes:
        root: Folder of the files, with `/` at its end.
        names: Their paths in it, each but the last followed by a zero byte.
        sizes: Their sizes, as 64-bit integers.
        modified: When they were written (`st_mtime_ns`), likewise.
        starts: Where in the piece each file's header begins, or its content where there are no
            headers, likewise.
        has_headers: Whether local headers are written.
    """

    root: bytes
    names: bytes
    sizes: bytes
    modified: bytes
    starts: bytes
    has_headers: bool

    def members(self) -> Iterator[Member]:
        """Yield name, size, modified and start of each file."""
        numbers = (array("q", column) for column in (self.sizes, self.modified, self.starts))
        return zip(self.names.split(b"\0"), *numbers, strict=True)


class Hashes(NamedTuple):
    """What the files of a batch are: their SHA-256 (32 bytes each) and crc32 (4 bytes each)."""

    sha256s: bytes
    crc32s: bytes


def fill(view: memoryview, batch: Batch) -> Hashes:
    """Read each file of a batch to its place in `view`, write its header before it, and hash it.

    Raises:
        SourceChangedError: A file is not what it was when it was listed.
        InvalidInputError: It can't be read.
    """
    return _fill(view, 0, batch, batch.members())


def write(file: str, offset: int, n_bytes: int, batch: Batch) -> Hashes:
    """Do the same in a file, without the whole piece in memory.

    Args:
        file: The file.
        offset: Where in it the piece begins.
        n_bytes: Size of the piece.
        batch: The files of this piece, one right after the other.

    Raises:
        OSError: The file can't be written.
        DatasetError: As `fill` does.
    """
    cuts = list(_cuts(array("q", [*array("q", batch.starts), n_bytes])))
    buffer = memoryview(bytearray(max(end - begin for _, _, begin, end in cuts)))
    members = list(batch.members())
    found: list[Hashes] = []
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for low, high, begin, end in cuts:
            view = buffer[: end - begin]
            found.append(_fill(view, begin, batch, members[low:high]))
            _write_fully(descriptor, offset + begin, view)
    finally:
        os.close(descriptor)
    return Hashes(*map(b"".join, zip(*found, strict=True)))


def _cuts(starts: array[int]) -> Iterator[tuple[int, int, int, int]]:
    """Cut a piece into runs of files: numbers of the first and behind the last, begin and end."""
    low = 0
    while low < len(starts) - 1:
        high = max(bisect_right(starts, starts[low] + _WRITE_BYTES) - 1, low + 1)
        yield low, high, starts[low], starts[high]
        low = high


def _fill(view: memoryview, begin: int, batch: Batch, members: Iterable[Member]) -> Hashes:
    """Fill `view`, which begins at `begin` in the piece, with some of a batch."""
    sha256s, crc32s = bytearray(), array("I")
    for name, size, modified, start in members:
        path = batch.root + name
        header = start - begin
        at = header + local_header_bytes(name, size) if batch.has_headers else header
        content = view[at : at + size]
        fd = open_file(path)
        try:
            read_fully(fd, content)
            check_unchanged(fd, size, modified, path)
        finally:
            os.close(fd)
        crc32 = crc32_of(content, 0)
        sha256s += sha256(content).digest()
        crc32s.append(crc32)
        if batch.has_headers:
            pack_header_into(view, header, name, size, crc32)
    return Hashes(bytes(sha256s), crc32s.tobytes())


def _write_fully(fd: int, offset: int, view: memoryview) -> None:
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


def open_file(path: bytes) -> int:
    """Open a file that is to be published.

    Raises:
        SourceChangedError: It is not there any more.
        InvalidInputError: It can't be read.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise _changed("The file vanished while it was published", path) from error
    except OSError as error:
        raise InvalidInputError(
            f"The file can't be read ({error.strerror})",
            subject=os.fsdecode(path),
            hint="Give read permission, or leave the file out.",
        ) from error


def read_fully(fd: int, view: memoryview) -> None:
    """Fill `view`, or less if the file ends; the check of the size afterwards tells."""
    done = os.readv(fd, (view,))
    while done < len(view) and (count := os.readv(fd, (view[done:],))):
        done += count


def check_unchanged(fd: int, size: int, modified: int, path: bytes) -> None:
    """Compare a file that was just read with what was listed."""
    now = os.fstat(fd)
    if now.st_size != size or now.st_mtime_ns != modified:
        raise changed(path)


def changed(path: bytes) -> SourceChangedError:
    """Return the error for a file that is not what it was."""
    return _changed("The file changed while it was published", path)


def _changed(message: str, path: bytes) -> SourceChangedError:
    return SourceChangedError(
        message,
        subject=os.fsdecode(path),
        hint="Publish again when nothing writes to the folder any more.",
    )
