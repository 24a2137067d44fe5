"""Make the tree of a version: link what lies in other trees, fetch the rest, publish it whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from prefect_datasets.core.cache import attempt as attempts
from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.cache import Ready, Selection
from prefect_datasets.core.cache.folders import Folders, lock_folders
from prefect_datasets.core.columns import Int64s, digest_matrix, pick, take
from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.reads import LOCAL, CostModel, Fetch, Large, Read
from prefect_datasets.core.resolve.crew import Task, work_through
from prefect_datasets.core.resolve.fetch import Fetcher, Members
from prefect_datasets.core.resolve.hands import Hands
from prefect_datasets.core.resolve.large import LargeFile
from prefect_datasets.core.resolve.part_tables import PartTables
from prefect_datasets.core.resolve.plan import mask_of
from prefect_datasets.core.resolve.room import make_room
from prefect_datasets.core.resolve.sources import Source, find_sources

if TYPE_CHECKING:
    from prefect_datasets.core.cache.attempt import Attempt, Leftover
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.progress import Progress
    from prefect_datasets.core.resolve.ahead import FirstTable
    from prefect_datasets.core.resolve.head import PackageHead
    from prefect_datasets.core.resolve.writers import Writers
    from prefect_datasets.core.store import Store

# Each thread reads and extracts by turns: more than the processors, so that some wait for the
# network while others write, and not many more, because those that write contend for them.
N_THREADS = min(max(4, 2 * (os.cpu_count() or 1)), 8)

_LINKS_PER_TASK = 2048


def build_version(
    record: VersionRecord,
    selection: Selection,
    attempt: Attempt,
    *,
    store: Store,
    progress: Progress,
    cost: CostModel | None = None,
    first: FirstTable | None = None,
    writers: Writers,
    head: PackageHead | None = None,
) -> Ready:
    """Fill an attempt with a version's files and tables; return what its `ready` shall say.

    Args:
        record: The version.
        selection: Which of its files.
        attempt: Where they go.
        store: Where they are.
        progress: Who is told.
        cost: What reading costs; guessed if left out.
        first: The first table, if it is being fetched already.
        writers: Who writes the files.
        head: The begin of the first package, likewise.

    Raises:
        IntegrityError: A file is damaged in every copy.
        NoSpaceError: The disk has no room; what was fetched is kept.
        StoreError: The store failed; likewise.
    """
    cost = cost or (LOCAL if store.kind in ("file", "memory") else CostModel())
    making = _Making(
        record,
        selection,
        attempt,
        store=store,
        progress=progress,
        cost=cost,
        first=first,
        writers=writers,
        head=head,
    )
    with making as it:
        return it.run()


@dataclass(frozen=True, slots=True)
class Link:
    """Rows of a part whose files lie in another tree.

    Attributes:
        files: The other tree.
        rows: The rows.
        paths: Their paths there.
        is_own: The other tree is an earlier attempt at this one.
    """

    files: Path
    rows: Int64s
    paths: pa.Array
    is_own: bool


@dataclass(frozen=True, slots=True)
class PartPlan:
    """What to do for one part."""

    members: Members
    rows: Int64s
    links: tuple[Link, ...]
    fetch: Int64s


PickUp = Callable[[Members, Large], set[tuple[int, int]]]


def fetch_tasks(
    fetcher: Fetcher, members: Members, rows: Int64s, *, pick_up: PickUp | None = None
) -> Iterator[Task[Hands]]:
    """Yield what fetches rows of a part.

    Args:
        fetcher: Reads the bytes.
        members: The part.
        rows: The rows.
        pick_up: Takes over what an earlier attempt has of a large file.
    """
    for plan in members.plans(rows, fetcher.cost):
        for place in plan.large:
            have = pick_up(members, place) if pick_up else set[tuple[int, int]]()
            file = LargeFile(fetcher, members, place, have=have)
            for piece in file.pieces():
                yield partial(_run_piece, file, piece)
        for job in plan.jobs:
            yield partial(_run_job, fetcher, members, plan, job)


def _run_piece(file: LargeFile, piece: tuple[int, int], hands: Hands) -> None:
    file.run(piece, hands)


def _run_job(
    fetcher: Fetcher, members: Members, plan: Fetch, job: tuple[Read, ...], hands: Hands
) -> None:
    fetcher.run(members, plan, job, hands)


class _Making:
    """One attempt at work."""

    def __init__(
        self,
        record: VersionRecord,
        selection: Selection,
        attempt: Attempt,
        *,
        store: Store,
        progress: Progress,
        cost: CostModel,
        first: FirstTable | None,
        writers: Writers,
        head: PackageHead | None,
    ) -> None:
        self._record = record
        self._selection = selection
        self._attempt = attempt
        self._cost = cost
        self._progress = progress
        self._leftovers = attempts.leftovers(attempt.entry, mine=attempt.folder)
        self._sources = find_sources(attempt.cache, attempt.entry, record)
        self._writers = writers
        self._fetcher = Fetcher(
            store, attempt, writers=writers, cost=cost, progress=progress, head=head
        )
        self._tables = PartTables(
            record,
            selection,
            store=store,
            folder=attempt.parts,
            elsewhere=[left.folder / "parts" for left in self._leftovers]
            + [source.tables for source in self._sources if source.is_same(record)],
            first=first,
        )
        self._made = writers.made
        self._lock = threading.Lock()
        self._n_linked_files = 0
        self._n_files = 0
        self._n_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for source in self._sources:
            source.give_back()

    def run(self) -> Ready:
        """Do all of it and return what `ready` shall say."""
        record = self._record
        most = (record.n_bytes, record.n_files)
        make_room(self._attempt.cache, str(record.uri), most, self._needs)
        self._progress.start("fetching", n_files=record.n_files, n_bytes=record.n_bytes)
        tool = partial(
            Hands,
            self._attempt.files,
            self._fetcher.store,
            made=self._made,
            lend=self._writers.lend,
        )
        work_through(self._tasks(), n_threads=N_THREADS, tool=tool)
        self._check_selection()
        lock_folders(self._attempt.files, self._made)
        return Ready(
            uri=str(record.uri),
            digest=record.digest,
            n_files=self._n_files,
            n_bytes=self._n_bytes,
            n_fetched_bytes=self._fetcher.n_fetched_bytes + self._tables.n_fetched_bytes,
            n_linked_files=self._n_linked_files,
            host=leases.this_host(),
            boot=leases.this_boot(),
        )

    def _check_selection(self) -> None:
        if self._n_files == 0 and not self._tables.matches_any:
            raise NotFoundError(
                f"No file matches {' or '.join(self._selection.include)}",
                subject=str(self._record.uri),
                hint="`prefect-datasets files` lists them; `**` matches across folders.",
            )

    # -- planning ---------------------------------------------------------------------------

    def _needs(self) -> tuple[int, int]:
        """Return exactly how many bytes and files will be fetched and made."""
        n_bytes = n_files = 0
        for index in self._tables.indexes:
            plan = self._plan(index)
            n_bytes += int(plan.members.sizes[plan.fetch].sum())
            n_files += len(plan.rows)
        for source in self._sources:
            source.give_back_unused()
        return n_bytes, n_files

    def _plan(self, index: int) -> PartPlan:
        members, rows = self._tables.load(index)
        links = [*self._leave(members, rows)]
        pending = _without(rows, links)
        for source in self._sources:
            if not self._is_worth_reading(source, members, pending):
                break
            links += self._find(source, members, pending)
            pending = _without(pending, links)
        return PartPlan(members, rows, tuple(links), pending)

    def _leave(self, members: Members, rows: Int64s) -> Iterator[Link]:
        """Yield what earlier attempts have made of the rows."""
        for left in self._leftovers:
            whole = mask_of(left.done.rows.get(members.part, []), len(members.paths))
            there = rows[whole[rows]]
            rows = rows[~whole[rows]]
            if len(there):
                paths = take(members.paths, there)
                yield Link(left.folder / "files", there, paths, is_own=True)

    def _is_worth_reading(self, source: Source, members: Members, pending: Int64s) -> bool:
        """Tell whether to look for the rows in another tree.

        In the most promising always, for the disk's sake; in others if that may be quicker than
        fetching them.
        """
        if not len(pending):
            return False
        if source.is_loaded or source is self._sources[0]:
            return True
        return source.read_seconds < int(members.sizes[pending].sum()) / self._cost.bandwidth

    def _find(self, source: Source, members: Members, pending: Int64s) -> Iterator[Link]:
        assert members.digests is not None
        digests = digest_matrix(members.digests)
        found = source.find(members.sizes[pending], digests[pending])
        there = found >= 0
        if there.any():
            paths = source.paths(found[there])
            yield Link(source.files, pending[there], paths, is_own=False)

    # -- doing ------------------------------------------------------------------------------

    def _tasks(self) -> Iterator[Task[Hands]]:
        for index in self._tables.indexes:
            plan = self._plan(index)
            self._n_files += len(plan.rows)
            self._n_bytes += int(plan.members.sizes[plan.rows].sum())
            # By turns, so that links are made while reads wait for the network.
            fetches = fetch_tasks(self._fetcher, plan.members, plan.fetch, pick_up=self._pick_up)
            both = zip_longest(fetches, self._links(plan))
            yield from (task for task in chain.from_iterable(both) if task is not None)

    def _links(self, plan: PartPlan) -> Iterator[Task[Hands]]:
        for link in plan.links:
            for start in range(0, len(link.rows), _LINKS_PER_TASK):
                yield partial(self._link, plan.members, link, slice(start, start + _LINKS_PER_TASK))

    def _link(self, members: Members, link: Link, which: slice, hands: Hands) -> None:
        rows = link.rows[which]
        old = link.paths[which].to_pylist()
        new = pick(members.paths, rows)
        try:
            missing = self._writers.link(link.files, old, new, hands)
        except FileNotFoundError:  # the other tree was deleted
            missing = list(range(len(rows)))
        gone = rows[missing]
        there = np.delete(rows, missing)
        if link.is_own:
            self._fetcher.done(members, there)
        else:
            self._progress.advance(n_files=len(there), n_bytes=int(members.sizes[there].sum()))
            with self._lock:
                self._n_linked_files += len(there)
        if len(gone):
            for task in fetch_tasks(self._fetcher, members, gone):
                task(hands)

    def _pick_up(self, members: Members, place: Large) -> set[tuple[int, int]]:
        """Take over what a dead attempt wrote of a large file, and return which pieces that is."""
        path = members.path(place.row)
        for left in self._leftovers:
            pieces = left.done.pieces.get((members.part, place.row))
            if pieces and left.is_dead and self._take_over(left, path):
                for start, length in pieces:
                    self._attempt.note_piece(members.part, place.row, start, length)
                return pieces
        return set()

    def _take_over(self, left: Leftover, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        with Folders(self._attempt.files, make=True, made=self._made) as folders:
            try:
                os.rename(left.folder / "files" / path, name, dst_dir_fd=folders.get(folder))
            except OSError:
                return False
        return True


def _without(rows: Int64s, links: list[Link]) -> Int64s:
    """Return the rows that no link covers; both ascend."""
    if not links:
        return rows
    covered = np.concatenate([link.rows for link in links])
    return rows[~np.isin(rows, covered)]
