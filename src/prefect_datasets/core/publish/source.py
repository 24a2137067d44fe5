"""Read the files of a part, from this machine or from what the store has of a base version."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from prefect_datasets.core.checksum import crc32_of
from prefect_datasets.core.columns import Int64s, is_valid, numbers, one_array, pick
from prefect_datasets.core.errors import (
    DatasetError,
    IntegrityError,
    NotFoundError,
)
from prefect_datasets.core.publish.fill import (
    Batch,
    changed,
    check_unchanged,
    open_file,
    read_fully,
)
from prefect_datasets.core.reads import CostModel, Places, Read, plan_fetch
from prefect_datasets.core.store import Range

if TYPE_CHECKING:
    from prefect_datasets.core.errors import SourceChangedError
    from prefect_datasets.core.publish.plan_version import PartPlan
    from prefect_datasets.core.store import Store

_READ_BYTES = 8 << 20
_COST = CostModel(request_bytes=_READ_BYTES)


class Source:
    """The files of a part: columns, and lists of what is looked up one by one.

    Attributes:
        sizes: Their sizes.
        is_local: Whether a file is read from this machine; the others are inherited.
    """

    def __init__(self, part: PartPlan, store: Store) -> None:
        self._rows = part.rows
        self._root = os.fsencode(part.root.rstrip("/")) + b"/"
        self._store = store
        self._names: pa.Array = one_array(part.rows["path"]).cast(pa.binary())
        self.sizes: Int64s = numbers(part.rows["size"])
        self.is_local = is_valid(part.rows["modified"])
        self._modified: Int64s = numbers(part.rows["modified"])

    @cached_property
    def paths(self) -> list[str]:
        """Their paths."""
        return self._rows["path"].to_pylist()

    @cached_property
    def sha256s(self) -> list[bytes | None]:
        """Of an inherited file its digest.

        Of a local one that of the object that is stored at its path already, or None.
        """
        return self._rows["sha256"].to_pylist()

    @cached_property
    def _crc32s(self) -> list[int | None]:
        return self._rows["crc32"].to_pylist()

    @cached_property
    def _urls(self) -> list[str | None]:
        return self._rows["url"].to_pylist()

    @cached_property
    def _packages(self) -> list[str | None]:
        return self._rows["package"].to_pylist()

    @cached_property
    def _offsets(self) -> list[int | None]:
        return self._rows["offset"].to_pylist()

    # -- local files

    def batch(self, members: Int64s, starts: Int64s, *, has_headers: bool) -> Batch:
        """Return how local files are read into a piece.

        Args:
            members: Which files, at least one, in order.
            starts: Where in the piece each begins, with its header if there are headers.
            has_headers: Whether there are.
        """
        return Batch(
            root=self._root,
            names=b"\0".join(pick(self._names, members)),
            sizes=self.sizes[members].tobytes(),
            modified=self._modified[members].tobytes(),
            starts=starts.tobytes(),
            has_headers=has_headers,
        )

    def local_chunks(self, member: int, sizes: Sequence[int]) -> Iterator[memoryview]:
        """Yield a local file in chunks of the given sizes.

        Raises:
            SourceChangedError: The file is not what it was when it was listed.
            InvalidInputError: It can't be read.
        """
        path = self._path(member)
        fd = open_file(path)
        try:
            for size in sizes:
                view = memoryview(bytearray(size))
                read_fully(fd, view)
                yield view
            check_unchanged(fd, int(self.sizes[member]), int(self._modified[member]), path)
        finally:
            os.close(fd)

    def hash_local(self, member: int) -> tuple[bytes, int]:
        """Return sha256 and crc32 of a local file; raises as `local_chunks` does."""
        sha256, crc32, left = hashlib.sha256(), 0, int(self.sizes[member])
        sizes = [min(_READ_BYTES, left - start) for start in range(0, left, _READ_BYTES)]
        for chunk in self.local_chunks(member, sizes):
            sha256.update(chunk)
            crc32 = crc32_of(chunk, crc32)
        return sha256.digest(), crc32

    def changed(self, member: int) -> SourceChangedError:
        """Return the error for a local file that is not what it was."""
        return changed(self._path(member))

    def _path(self, member: int) -> bytes:
        return self._root + self._names[member].as_py()

    # -- inherited files

    def read_stored(self, members: Sequence[int]) -> Iterator[tuple[int, memoryview]]:
        """Yield inherited files with their content, checked, in few requests.

        Raises:
            IntegrityError: Neither copy in the store is what was published.
        """
        places = self._places(members)
        plan = plan_fetch(places, _COST)
        for job in plan.jobs:
            for read, block in zip(job, self._read(job), strict=True):
                for at in range(read.first, read.end):
                    member = int(plan.order[at])
                    yield member, self._checked(member, block, int(plan.starts[at]) - read.start)
        for file in plan.large:
            yield file.row, self._checked(file.row, self._read_one(Range(*file[:3])), 0)

    def _places(self, members: Sequence[int]) -> Places:
        at = [self._stored_at(member) for member in members]
        keys = {key: number for number, key in enumerate(dict.fromkeys(place.key for place in at))}
        return Places(
            rows=np.array(members, np.int64),
            keys=tuple(keys),
            objects=np.array([keys[place.key] for place in at], np.int64),
            starts=np.array([place.start for place in at], np.int64),
            sizes=np.array([place.length for place in at], np.int64),
        )

    def _read(self, job: Sequence[Read]) -> Sequence[memoryview | None]:
        """Do several reads at once; where one is damaged, one by one, None for those."""
        ranges = [Range(*read[:3]) for read in job]
        try:
            return self._store.read_many(ranges)
        except (IntegrityError, NotFoundError):
            return [self._read_one(wanted) for wanted in ranges]

    def _read_one(self, wanted: Range) -> memoryview | None:
        try:
            return self._store.read_range(*wanted)
        except (IntegrityError, NotFoundError):
            return None

    def stored_chunks(self, member: int, sizes: Sequence[int]) -> Iterator[memoryview]:
        """Yield an inherited file in chunks of the given sizes.

        Raises:
            IntegrityError: It is not what was published; the last chunk was yielded by then.
        """
        at, crc32 = self._stored_at(member), 0
        start = at.start
        for size in sizes:
            chunk = self._store.read_range(at.key, start, size)
            crc32 = crc32_of(chunk, crc32)
            start += size
            yield chunk
        if crc32 != self._crc32s[member]:
            raise IntegrityError(
                f"The stored bytes of {self.paths[member]!r} are damaged",
                subject=at.key,
                hint="Add the file anew, or exclude it from the base.",
            )

    def _checked(self, member: int, block: memoryview | None, start: int) -> memoryview:
        size = int(self.sizes[member])
        if block is not None:
            content = block[start : start + size]
            if crc32_of(content, 0) == self._crc32s[member]:
                return content
        return self._other_copy(member)

    def _other_copy(self, member: int) -> memoryview:
        """Read a file whose copy in the package is damaged from its own object."""
        url, size = self._urls[member], int(self.sizes[member])
        try:
            content = self._store.read_range(url, 0, size) if url else memoryview(b"")
        except DatasetError:
            content = memoryview(b"")
        if len(content) == size and crc32_of(content, 0) == self._crc32s[member]:
            return content
        raise IntegrityError(
            f"Every stored copy of {self.paths[member]!r} is damaged or missing",
            subject=self._packages[member] or url or "",
            hint="Add the file anew, or exclude it from the base.",
        )

    def _stored_at(self, member: int) -> Range:
        package, offset = self._packages[member], self._offsets[member]
        if package is not None and offset is not None:
            return Range(package, offset, int(self.sizes[member]))
        return Range(self._urls[member] or "", 0, int(self.sizes[member]))
