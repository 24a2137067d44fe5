"""A part's own files: those on this machine, or the objects below a prefix of a store.

Both know a file by its number in the part, and are told how large it was and when it was changed
(of an object its stamp) as it was listed.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING

import pyarrow as pa

from prefect_datasets.core.checksum import crc32_of
from prefect_datasets.core.columns import Int64s, numbers, one_array, pick
from prefect_datasets.core.format.local_header import local_header_bytes, pack_header_into
from prefect_datasets.core.publish.fill import (
    Batch,
    Hashes,
    changed,
    check_unchanged,
    open_file,
    read_fully,
)
from prefect_datasets.core.store import Range
from prefect_datasets.core.store.stamps import has_changed, read_as_listed
from prefect_datasets.core.store.transfers import READING, run_all

if TYPE_CHECKING:
    from prefect_datasets.core.errors import SourceChangedError
    from prefect_datasets.core.publish.plan_version import PartPlan
    from prefect_datasets.core.store import Store

# Ranges of a large object on their way while one is worked with.
_READ_AHEAD = 2


def own_files(part: PartPlan) -> OwnFiles:
    """Return what reads the own files of a part."""
    return LocalFiles(part) if part.origin is None else PrefixFiles(part, part.origin)


class OwnFiles(ABC):
    """Files of a part.

    Args:
        part: The part.

    Attributes:
        n_threads: How many files are best read at a time.
    """

    n_threads: int

    def __init__(self, part: PartPlan) -> None:
        self._names: pa.Array = one_array(part.rows["path"]).cast(pa.binary())
        self._sizes: Int64s = numbers(part.rows["size"])
        self._modified: Int64s = numbers(part.rows["modified"])

    @abstractmethod
    def fill(
        self,
        view: memoryview,
        members: Int64s,
        starts: Int64s,
        *,
        has_headers: bool,
        read: Callable[[Batch], Hashes],
    ) -> Hashes:
        """Read files to their places in a piece, write their headers, and hash them.

        Args:
            view: The piece.
            members: Which files, at least one, in order.
            starts: Where in the piece each begins, with its header if there are headers.
            has_headers: Whether there are.
            read: Does it for files of this machine.

        Raises:
            SourceChangedError: A file is not what it was when it was listed.
            DatasetError: It can't be read.
        """

    @abstractmethod
    def chunks(self, member: int, sizes: Sequence[int]) -> Iterator[memoryview]:
        """Yield a file in chunks of the given sizes; raises as `fill` does, at its end at last."""

    @abstractmethod
    def changed(self, member: int) -> SourceChangedError:
        """Return the error for a file that is not what it was."""


class LocalFiles(OwnFiles):
    """Files of this machine."""

    n_threads = 2

    def __init__(self, part: PartPlan) -> None:
        super().__init__(part)
        self._root = os.fsencode(part.root.rstrip("/")) + b"/"

    def fill(
        self,
        view: memoryview,
        members: Int64s,
        starts: Int64s,
        *,
        has_headers: bool,
        read: Callable[[Batch], Hashes],
    ) -> Hashes:
        del view  # `read` knows it
        batch = Batch(
            root=self._root,
            names=b"\0".join(pick(self._names, members)),
            sizes=self._sizes[members].tobytes(),
            modified=self._modified[members].tobytes(),
            starts=starts.tobytes(),
            has_headers=has_headers,
        )
        return read(batch)

    def chunks(self, member: int, sizes: Sequence[int]) -> Iterator[memoryview]:
        path = self._path(member)
        fd = open_file(path)
        try:
            for size in sizes:
                view = memoryview(bytearray(size))
                read_fully(fd, view)
                yield view
            check_unchanged(fd, int(self._sizes[member]), int(self._modified[member]), path)
        finally:
            os.close(fd)

    def changed(self, member: int) -> SourceChangedError:
        return changed(self._path(member))

    def _path(self, member: int) -> bytes:
        return self._root + self._names[member].as_py()


class PrefixFiles(OwnFiles):
    """Objects below a prefix: small ones are read many at a time, large ones in ranges."""

    def __init__(self, part: PartPlan, origin: Store) -> None:
        super().__init__(part)
        self._origin = origin
        self.n_threads = origin.n_threads

    def fill(
        self,
        view: memoryview,
        members: Int64s,
        starts: Int64s,
        *,
        has_headers: bool,
        read: Callable[[Batch], Hashes],
    ) -> Hashes:
        del read

        def fill_one(at: tuple[int, int]) -> tuple[bytes, bytes]:
            return self._fill_one(view, *at, has_headers=has_headers)

        places = list(zip(members.tolist(), starts.tolist(), strict=True))
        found = run_all(fill_one, places, n_threads=self.n_threads, pool=READING)
        return Hashes(*(b"".join(column) for column in zip(*found, strict=True)))

    def _fill_one(
        self, view: memoryview, member: int, start: int, *, has_headers: bool
    ) -> tuple[bytes, bytes]:
        name, size = self._names[member].as_py(), int(self._sizes[member])
        content = self._read(member, 0, size)
        crc32 = crc32_of(content, 0)
        at = start
        if has_headers:
            at += local_header_bytes(name, size)
            pack_header_into(view, start, name, size, crc32)
        view[at : at + size] = content
        return sha256(content).digest(), crc32.to_bytes(4, sys.byteorder)

    def chunks(self, member: int, sizes: Sequence[int]) -> Iterator[memoryview]:
        if len(sizes) < 2:  # an empty object may have changed all the same
            yield self._read(member, 0, sum(sizes))
            return
        pool = ThreadPoolExecutor(_READ_AHEAD, "ranges")
        coming: deque[Future[memoryview]] = deque()
        start = 0
        try:
            for size in sizes:
                coming.append(pool.submit(self._read, member, start, size))
                start += size
                if len(coming) > _READ_AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def changed(self, member: int) -> SourceChangedError:
        return has_changed(self._origin, self._key(member))

    def _read(self, member: int, start: int, length: int) -> memoryview:
        return read_as_listed(
            self._origin,
            Range(self._key(member), start, length),
            n_bytes=int(self._sizes[member]),
            stamp=int(self._modified[member]),
        )

    def _key(self, member: int) -> str:
        return self._names[member].as_py().decode()
