"""Read what a plan says and write each file as its bytes arrive, checked.

A file whose bytes are damaged or missing is read once more and then from its own object, where the
package is what is damaged; only then the resolve fails, and names it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_datasets.core.columns import Int64s, pick
from prefect_datasets.core.errors import (
    AccessDeniedError,
    DatasetError,
    IntegrityError,
    NotFoundError,
    StoreError,
)
from prefect_datasets.core.reads import CostModel, Fetch, Places, Read, plan_fetch
from prefect_datasets.core.resolve.crew import Gate
from prefect_datasets.core.resolve.plan import ranges_of
from prefect_datasets.core.resolve.write_files import Contents, write_files
from prefect_datasets.core.store.base import Range

if TYPE_CHECKING:
    from prefect_datasets.core.cache.attempt import Attempt
    from prefect_datasets.core.progress import Progress
    from prefect_datasets.core.resolve.hands import Hands
    from prefect_datasets.core.resolve.head import PackageHead
    from prefect_datasets.core.resolve.writers import Writers
    from prefect_datasets.core.store import Store

# What a second try, or the other copy, may heal.
HEALABLE = (IntegrityError, NotFoundError, StoreError)

# Rows of single objects that are planned at a time: their keys are Python strings.
_SINGLES_AT_ONCE = 1 << 16

# Rows that are Python objects at a time, for each thread; of empty files 100,000 fit in a read.
_MOST_ROWS = 1 << 13

_NOTHING = memoryview(b"")

# So many at least are worth a plan of their own.
_LEAST_LONE = 32


# Returns the keys of the objects that hold rows alone, None for a row without.
Urls = Callable[[Int64s], list[str | None]]


@dataclass(frozen=True, slots=True)
class Members:
    """What fetching needs of one part's table, by row number.

    Attributes:
        part: Number of the part.
        paths: Paths.
        sizes: Sizes.
        digests: SHA-256 of each; None for files of which nothing but the size is known.
        crc32s: CRC-32 of each; None likewise.
        packages: Keys of the packages.
        package_of: For each row its package's index, -1 where it is in none.
        offsets: For each row where in the package it begins.
        urls: Returns the keys of the objects that hold rows alone, None for a row without.
        together: Where some of the rows lie together, apart from the package, if they do; in the
            order of their rows.
    """

    part: int
    paths: pa.Array
    sizes: Int64s
    digests: pa.Array | None
    crc32s: npt.NDArray[np.uint32] | None
    packages: tuple[str, ...]
    package_of: Int64s
    offsets: Int64s
    urls: Urls
    together: Places | None = None

    def path(self, row: int) -> str:
        """Return one row's path."""
        return self.paths[row].as_py()

    def packaged(self, rows: Int64s) -> Places:
        """Return the places in packages of those rows that have one."""
        rows = rows[self.package_of[rows] >= 0]
        return Places(
            rows, self.packages, self.package_of[rows], self.offsets[rows], self.sizes[rows]
        )

    def single(self, rows: Int64s) -> Places:
        """Return the places as objects of their own of those rows that have one."""
        urls = self.urls(rows)
        there = np.array([url is not None for url in urls], np.bool_)
        rows = rows[there]
        keys = tuple(url for url in urls if url is not None)
        count = np.arange(len(rows), dtype=np.int64)
        return Places(rows, keys, count, np.zeros(len(rows), np.int64), self.sizes[rows])

    def plans(self, rows: Int64s, cost: CostModel) -> Iterator[Fetch]:
        """Plan how to fetch rows: together or from packages, those in none as single objects."""
        alone = rows[self.package_of[rows] < 0]
        near, places = self._quicker(self.packaged(rows), cost)
        if near is not None:
            yield near
        if len(places):
            plan = plan_fetch(places, cost)
            lone = self._lone(plan)
            if len(lone):
                plan = plan_fetch(places[~np.isin(places.rows, lone)], cost)
                alone = np.concatenate((alone, lone))
            yield plan
        for start in range(0, len(alone), _SINGLES_AT_ONCE):
            yield plan_fetch(self.single(alone[start : start + _SINGLES_AT_ONCE]), cost)

    def _quicker(self, places: Places, cost: CostModel) -> tuple[Fetch | None, Places]:
        """Plan to read rows where they lie together, if that is quicker; return what is left."""
        if self.together is None:
            return None, places
        there = self.together[np.isin(self.together.rows, places.rows)]
        rest = places[~np.isin(places.rows, there.rows)]
        near = plan_fetch(there, cost)
        seconds = near.seconds(cost) + plan_fetch(rest, cost).seconds(cost)
        is_quicker = len(there) and seconds < plan_fetch(places, cost).seconds(cost)
        return (near, rest) if is_quicker else (None, places)

    def _lone(self, plan: Fetch) -> Int64s:
        """Return rows that share a read with no neighbour and have an object of their own.

        Reading that costs one request as well, and some stores take twice as long to find a few
        bytes inside of a large object.
        """
        found = [read.first for job in plan.jobs for read in job if read.end == read.first + 1]
        if len(found) < _LEAST_LONE:
            return np.empty(0, np.int64)
        return self.single(plan.order[found]).rows

    def contents(self, rows: Int64s, starts: Int64s) -> Contents:
        """Return rows as lists, for a buffer where they begin at `starts`."""
        ends = starts + self.sizes[rows]
        return Contents(
            paths=pick(self.paths, rows),
            starts=starts.tolist(),
            ends=ends.tolist(),
            digests=None if self.digests is None else pick(self.digests, rows),
            crc32s=None if self.crc32s is None else self.crc32s[rows].tolist(),
        )


def _slices(first: int, end: int) -> Iterator[slice]:
    """Cut a range of rows where there are too many."""
    for start in range(first, end, _MOST_ROWS):
        yield slice(start, min(start + _MOST_ROWS, end))


class Fetcher:
    """Runs reads; its methods are called from several threads.

    Args:
        store: Where the bytes are.
        attempt: The tree in the making.
        cost: The size of a read.
        progress: Who is told.
        writers: Who writes the files.
        head: The begin of a package, if it is being fetched already.

    Attributes:
        gate: What has been read waits here until it may be written.
    """

    def __init__(
        self,
        store: Store,
        attempt: Attempt,
        *,
        writers: Writers,
        cost: CostModel,
        progress: Progress,
        head: PackageHead | None = None,
    ) -> None:
        self.store = store
        self.attempt = attempt
        self.cost = cost
        self.progress = progress
        self.writers = writers
        self.gate = Gate()
        self.n_fetched_bytes = head.n_bytes if head else 0
        self._head = head
        self._lock = threading.Lock()
        self._warned: set[str] = set()

    def run(self, members: Members, plan: Fetch, job: tuple[Read, ...], hands: Hands) -> None:
        """Do the reads of one job and write their files."""
        first, end = job[0].first, job[-1].end
        rows = plan.order[first:end]
        begins = np.repeat([read.start for read in job], [read.end - read.first for read in job])
        starts = plan.starts[first:end] - begins
        few = members.contents(rows, starts) if len(rows) <= _MOST_ROWS else None
        failed: list[Int64s] = []
        found = self._try_reads(job, hands)
        self.gate.wait()
        for read, buffer in zip(job, found, strict=True):
            for here in _slices(read.first - first, read.end - first):
                if buffer is None:
                    failed.append(rows[here])
                    continue
                contents = few[here] if few else members.contents(rows[here], starts[here])
                if bad := self.writers.write(contents, buffer, hands):
                    failed.append(rows[here][bad])
        if failed:
            self.heal(members, np.concatenate(failed), job[0].key, hands)
        self.done(members, rows)

    def done(self, members: Members, rows: Int64s) -> None:
        """Note rows as whole."""
        self.attempt.note_rows(members.part, ranges_of(np.sort(rows)))
        self.progress.advance(n_files=len(rows), n_bytes=int(members.sizes[rows].sum()))

    def read(
        self, ranges: Sequence[Range], hands: Hands, *, begun: memoryview = _NOTHING
    ) -> list[memoryview]:
        """Read ranges, several at once if there are several; one is good until the next call.

        Args:
            ranges: The ranges.
            hands: The thread's own.
            begun: The first bytes of the only range, where they are there already.
        """
        wanted = [item for item in ranges if item.length]
        if len(wanted) == 1:
            found = [hands.read(wanted[0], begun)]
        else:
            found = self.store.read_many(wanted) if wanted else []
        with self._lock:
            self.n_fetched_bytes += sum(item.length for item in wanted) - len(begun)
        buffers = iter(found)
        return [next(buffers) if item.length else memoryview(b"") for item in ranges]

    def _try_reads(self, job: tuple[Read, ...], hands: Hands) -> Sequence[memoryview | None]:
        """Return the bytes of each read, or None for all where one of them failed twice."""
        ranges = [Range(read.key, read.start, read.length) for read in job]
        begun = self._head.take(ranges[0]) if self._head and len(job) == 1 else _NOTHING
        for is_last in (False, True):
            try:
                return self.read(ranges, hands, begun=begun)
            except AccessDeniedError:
                raise
            except HEALABLE as error:
                begun = _NOTHING
                if is_last or not error.retryable:  # bytes that are not there are elsewhere
                    break
        return [None] * len(job)

    # -- what went wrong --------------------------------------------------------------------

    def heal(self, members: Members, rows: Int64s, key: str, hands: Hands) -> None:
        """Read files once more, and then from their own objects.

        Raises:
            IntegrityError: A file is damaged wherever it lies.
            StoreError: The store could not be asked.
        """
        self.warn_once(key, f"Damaged or missing bytes in {key}: trying again, then elsewhere")
        left, errors = self._again(members, members.packaged(rows), hands)
        alone = rows[members.package_of[rows] < 0]
        singles = members.single(np.concatenate((left, alone)))
        lost, more = self._again(members, singles, hands)
        lost = np.concatenate((lost, np.setdiff1d(left, singles.rows)))
        if len(lost):
            raise self.verdict(members, lost, {**errors, **more})

    def warn_once(self, key: str, message: str) -> None:
        """Warn of an object, once."""
        with self._lock:
            is_new = key not in self._warned
            self._warned.add(key)
        if is_new:
            self.progress.warn(message)

    def _again(
        self, members: Members, places: Places, hands: Hands
    ) -> tuple[Int64s, dict[int, DatasetError]]:
        """Read places once more; return the rows that are still damaged, and what was said."""
        lost: list[int] = []
        errors: dict[int, DatasetError] = {}
        for which in _chunks(places, self.cost):
            some = places[which]
            for row, found in zip(some.rows.tolist(), self._each(some, hands), strict=True):
                if isinstance(found, DatasetError):
                    errors[row] = found
                    lost.append(row)
                elif write_files(
                    members.contents(np.array([row]), np.zeros(1, np.int64)),
                    found,
                    hands.target,
                    self.attempt.files,
                ):
                    lost.append(row)
        return np.array(lost, np.int64), errors

    def _each(self, places: Places, hands: Hands) -> Sequence[memoryview | DatasetError]:
        """Return each place's bytes, or why there are none; all at once where that works."""
        ranges = [
            Range(places.keys[key], start, size)
            for key, start, size in zip(
                places.objects.tolist(), places.starts.tolist(), places.sizes.tolist(), strict=True
            )
        ]
        try:
            return self.read(ranges, hands)
        except AccessDeniedError:
            raise
        except HEALABLE as error:
            if isinstance(error, NotFoundError) and len(set(places.objects.tolist())) == 1:
                return [error] * len(ranges)  # no use in asking for each member of a lost package
            return [self._one(item, hands) for item in ranges]

    def _one(self, item: Range, hands: Hands) -> memoryview | DatasetError:
        try:
            return memoryview(bytes(self.read([item], hands)[0]))
        except HEALABLE as error:
            return error

    def verdict(
        self, members: Members, rows: Int64s, errors: dict[int, DatasetError]
    ) -> DatasetError:
        """Return the error for files that can be had nowhere."""
        for row in rows.tolist():
            error = errors.get(row)
            if error is not None and error.retryable:  # nothing is known to be wrong with it
                return error
        row = int(rows[0])
        package = int(members.package_of[row])
        where = f" in {members.packages[package]}" if package >= 0 else ""
        others = f", and {len(rows) - 1} others" if len(rows) > 1 else ""
        return IntegrityError(
            f"Stored bytes are damaged or missing, in every copy there is{others}",
            subject=f"{members.path(row)}{where}",
            hint="`prefect-datasets verify` lists what is damaged; restore it or publish again.",
        )


def _chunks(places: Places, cost: CostModel) -> Iterator[slice]:
    """Cut places into runs of about a request's worth."""
    ends = np.cumsum(places.sizes)
    first = 0
    while first < len(ends):
        base = int(ends[first] - places.sizes[first])
        end = int(np.searchsorted(ends, base + cost.request_bytes, "right"))
        end = min(max(end, first + 1), first + cost.job_reads)
        yield slice(first, end)
        first = end
