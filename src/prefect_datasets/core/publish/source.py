"""Read the files of a part: its own ones, and what the store has of a base version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from prefect_datasets.core.checksum import crc32_of
from prefect_datasets.core.columns import Int64s, is_valid, numbers
from prefect_datasets.core.errors import (
    DatasetError,
    IntegrityError,
    NotFoundError,
)
from prefect_datasets.core.publish.own_files import own_files
from prefect_datasets.core.reads import CostModel, Places, Read, plan_fetch
from prefect_datasets.core.store import Range

if TYPE_CHECKING:
    from prefect_datasets.core.publish.plan_version import PartPlan
    from prefect_datasets.core.store import Store

_READ_BYTES = 8 << 20
_COST = CostModel(request_bytes=_READ_BYTES)


class Source:
    """The files of a part: columns, and lists of what is looked up one by one.

    Attributes:
        sizes: Their sizes.
        is_local: Whether a file is one of the part's own; the others are inherited.
        own: Reads the own ones.
    """

    def __init__(self, part: PartPlan, store: Store) -> None:
        self._rows = part.rows
        self._store = store
        self.sizes: Int64s = numbers(part.rows["size"])
        self.is_local = is_valid(part.rows["modified"])
        self.own = own_files(part)

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

    # -- own files

    def hash_own(self, member: int) -> tuple[bytes, int]:
        """Return sha256 and crc32 of an own file; raises as `OwnFiles.chunks` does."""
        sha256, crc32, left = hashlib.sha256(), 0, int(self.sizes[member])
        sizes = [min(_READ_BYTES, left - start) for start in range(0, left, _READ_BYTES)]
        for chunk in self.own.chunks(member, sizes):
            sha256.update(chunk)
            crc32 = crc32_of(chunk, crc32)
        return sha256.digest(), crc32

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
