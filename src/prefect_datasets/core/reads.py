"""In which reads a store is asked for files that lie somewhere in its objects: pure.

Neighbours in an object are read together, over gaps where a new read would cost more. A million
files are a few arrays here; `rows` are row numbers of the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from prefect_datasets.core.columns import Int64s

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class CostModel:
    """What reading costs, to decide when to read over what nobody wants.

    A read of its own costs a round trip, of which `reads_at_once` run at a time; a gap costs its
    bytes. They are equal at a gap of `bandwidth * latency / reads_at_once`.

    Attributes:
        latency_seconds: From asking to the first byte.
        bandwidth: Bytes per second, of all reads together.
        reads_at_once: Small reads in flight.
        request_bytes: Most bytes in one read; larger files are read in pieces of this size.
        job_reads: Most small reads that are asked for together.
    """

    latency_seconds: float = 0.02
    bandwidth: float = 125e6
    reads_at_once: int = 32
    request_bytes: int = 8 * MIB
    job_reads: int = 256

    @property
    def max_gap_bytes(self) -> int:
        """The largest gap that is cheaper to read over than to begin a new read after."""
        return int(self.bandwidth * self.latency_seconds / self.reads_at_once)


# A read of a file costs a system call: no gap of more than 2.5 kB is worth reading over.
LOCAL = CostModel(latency_seconds=5e-6, bandwidth=1e9, reads_at_once=2)


class Read(NamedTuple):
    """One run of bytes of one object, with the files `order[first:end]` of the plan in it."""

    key: str
    start: int
    length: int
    first: int
    end: int


class Large(NamedTuple):
    """A file above one request, read in pieces: `n_bytes` of `key` from `start` on."""

    key: str
    start: int
    n_bytes: int
    row: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """What to read for one part.

    Attributes:
        order: Rows in the order in which reads hold them, large files not among them.
        starts: For each of these where in its object it begins.
        jobs: Reads that are asked for together, a request's worth each.
        large: Files above one request.
        n_bytes: Bytes that the reads move, gaps included.
        n_member_bytes: Bytes of the files themselves.
    """

    order: Int64s
    starts: Int64s
    jobs: tuple[tuple[Read, ...], ...]
    large: tuple[Large, ...]
    n_bytes: int
    n_member_bytes: int

    @property
    def n_files(self) -> int:
        """Number of files."""
        return len(self.order) + len(self.large)

    @property
    def n_reads(self) -> int:
        """Number of reads, a large file counted as one."""
        return sum(len(job) for job in self.jobs) + len(self.large)

    def seconds(self, cost: CostModel) -> float:
        """Return about how long the reads take: their round trips and their bytes."""
        waits = self.n_reads * cost.latency_seconds / cost.reads_at_once
        return waits + self.n_bytes / cost.bandwidth


@dataclass(frozen=True, slots=True)
class Places:
    """Where the bytes of some rows lie.

    Attributes:
        rows: The rows.
        keys: Every object's key, once.
        objects: For each row the index of its object in `keys`.
        starts: For each row where in the object it begins.
        sizes: For each row how many bytes it has.
    """

    rows: Int64s
    keys: tuple[str, ...]
    objects: Int64s
    starts: Int64s
    sizes: Int64s

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> Places:
        """Return the places that an index array, a mask or a slice picks."""
        return Places(
            self.rows[which],
            self.keys,
            self.objects[which],
            self.starts[which],
            self.sizes[which],
        )


def plan_fetch(places: Places, cost: CostModel) -> Fetch:
    """Group files into reads: neighbours in an object together, over gaps where that is cheaper."""
    is_large = places.sizes > cost.request_bytes
    small = places[~is_large]
    small = small[np.lexsort((small.starts, small.objects))]
    reads = _reads(small, cost)
    large = _large(places[is_large])
    return Fetch(
        order=small.rows,
        starts=small.starts,
        jobs=tuple(_jobs(reads, cost)),
        large=large,
        n_bytes=sum(read.length for read in reads) + sum(file.n_bytes for file in large),
        n_member_bytes=int(places.sizes.sum()),
    )


def _large(places: Places) -> tuple[Large, ...]:
    columns = (places.objects, places.starts, places.sizes, places.rows)
    return tuple(
        Large(places.keys[key], start, size, row)
        for key, start, size, row in zip(*(column.tolist() for column in columns), strict=True)
    )


def _reads(places: Places, cost: CostModel) -> list[Read]:
    """Return the reads for files in order of their place."""
    if not len(places.rows):
        return []
    ends = np.maximum.accumulate(places.starts + places.sizes)
    # Ends of an earlier object must not reach into the next: compare within one object only.
    same_object = places.objects[1:] == places.objects[:-1]
    if not same_object.all():
        ends = _ends_by_object(places)
    near = places.starts[1:] - ends[:-1] <= cost.max_gap_bytes
    cuts = np.flatnonzero(~(same_object & near)) + 1
    firsts = [0, *cuts.tolist()]
    lasts = [*cuts.tolist(), len(places.rows)]
    reads: list[Read] = []
    for first, end in zip(firsts, lasts, strict=True):
        reads += _cut(places, ends, first, end, cost.request_bytes)
    return reads


def _ends_by_object(places: Places) -> Int64s:
    ends = places.starts + places.sizes
    borders = np.flatnonzero(np.diff(places.objects)) + 1
    if len(borders) + 1 == len(ends):  # one file per object
        return ends
    return np.concatenate([np.maximum.accumulate(run) for run in np.split(ends, borders)])


def _cut(places: Places, ends: Int64s, first: int, end: int, most: int) -> list[Read]:
    """Cut a run of neighbours into reads of at most `most` bytes."""
    key = places.keys[int(places.objects[first])]
    starts = places.starts
    reads: list[Read] = []
    while first < end:
        start = int(starts[first])
        if ends[end - 1] - start <= most:
            cut = end
        else:
            # At least one file, because none is larger than a request.
            cut = max(
                first + 1, int(np.searchsorted(ends[first:end], start + most, "right")) + first
            )
        reads.append(Read(key, start, int(ends[cut - 1]) - start, first, cut))
        first = cut
    return reads


def _jobs(reads: list[Read], cost: CostModel) -> list[tuple[Read, ...]]:
    """Collect small reads until they are a request's worth."""
    jobs: list[tuple[Read, ...]] = []
    current: list[Read] = []
    n_bytes = 0
    for read in reads:
        if current and (
            n_bytes + read.length > cost.request_bytes or len(current) >= cost.job_reads
        ):
            jobs.append(tuple(current))
            current, n_bytes = [], 0
        current.append(read)
        n_bytes += read.length
    if current:
        jobs.append(tuple(current))
    return jobs
