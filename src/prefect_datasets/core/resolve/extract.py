"""Make the tree of a version: link what lies in other trees, fetch the rest, publish it whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

import numpy as np

from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.cache import Ready, Selection
from prefect_datasets.core.cache.folders import Folders, lock_folders
from prefect_datasets.core.columns import Int64s, pick
from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.processes import n_processors
from prefect_datasets.core.reads import LOCAL, CostModel, Fetch, Large, Read
from prefect_datasets.core.resolve.crew import Task, work_through
from prefect_datasets.core.resolve.fetch import Fetcher, Members
from prefect_datasets.core.resolve.hands import Hands
from prefect_datasets.core.resolve.large import LargeFile
from prefect_datasets.core.resolve.mirror import Mirror, remove
from prefect_datasets.core.resolve.part_plans import Kept, Link, PartPlan, PartPlans, keep
from prefect_datasets.core.resolve.room import make_room

if TYPE_CHECKING:
    from prefect_datasets.core.cache.attempt import Attempt, Leftover
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.progress import Progress
    from prefect_datasets.core.resolve.ahead import Begun
    from prefect_datasets.core.resolve.sources import Source
    from prefect_datasets.core.store import Store

# The kinds of stores that are this machine.
_LOCAL_KINDS = ("file", "memory")
# Each has a buffer of a request; with these and the head of the package, shared memory is full.
_MOST_THREADS = 24

_LINKS_PER_TASK = 2048


def n_threads(store: Store) -> int:
    """Return how many threads read and extract by turns.

    Those that read from this machine contend for its processors. Object stores give one connection
    some 90 MB/s, and one processor takes several times that.
    """
    if store.kind in _LOCAL_KINDS:
        return min(max(4, 2 * n_processors()), 8)
    return min(max(8, 4 * n_processors()), _MOST_THREADS)


def build_version(
    record: VersionRecord,
    selection: Selection,
    attempt: Attempt,
    *,
    store: Store,
    progress: Progress,
    begun: Begun,
    cost: CostModel | None = None,
) -> Ready:
    """Fill an attempt with a version's files and tables; return what its `ready` shall say.

    Args:
        record: The version.
        selection: Which of its files.
        attempt: Where they go.
        store: Where they are.
        progress: Who is told.
        begun: What goes on already.
        cost: What reading costs; guessed if left out.

    Raises:
        IntegrityError: A file is damaged in every copy.
        NoSpaceError: The disk has no room; what was fetched is kept.
        StoreError: The store failed; likewise.
    """
    cost = cost or (LOCAL if store.kind in _LOCAL_KINDS else CostModel())
    plans = PartPlans(record, selection, attempt, store=store, cost=cost, first=begun.first)
    fetcher = Fetcher(
        store, attempt, writers=begun.writers, cost=cost, progress=progress, head=begun.head
    )
    try:
        return _Making(record, selection, attempt, plans, fetcher, begun.mirror).run()
    finally:
        plans.give_back()


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
        plans: PartPlans,
        fetcher: Fetcher,
        mirror: Mirror,
    ) -> None:
        self._record = record
        self._selection = selection
        self._attempt = attempt
        self._plans = plans
        self._fetcher = fetcher
        self._mirror = mirror
        self._writers = fetcher.writers
        self._progress = fetcher.progress
        self._lock = threading.Lock()
        self._n_linked_files = 0
        self._n_files = 0
        self._n_bytes = 0

    def run(self) -> Ready:
        """Do all of it and return what `ready` shall say."""
        record = self._record
        most = (record.n_bytes, record.n_files)
        make_room(self._attempt.cache, str(record.uri), most, self._plans.needs)
        self._progress.start("fetching", n_files=record.n_files, n_bytes=record.n_bytes)
        tool = partial(
            Hands,
            self._attempt.files,
            self._fetcher.store,
            made=self._writers.made,
            lend=self._writers.lend,
        )
        work_through(self._tasks(), n_threads=n_threads(self._fetcher.store), tool=tool)
        self._check_selection()
        lock_folders(self._attempt.files, self._writers.made)
        return Ready(
            uri=str(record.uri),
            digest=record.digest,
            n_files=self._n_files,
            n_bytes=self._n_bytes,
            n_fetched_bytes=self._fetcher.n_fetched_bytes + self._plans.tables.n_fetched_bytes,
            n_linked_files=self._n_linked_files,
            host=leases.this_host(),
            boot=leases.this_boot(),
        )

    def _check_selection(self) -> None:
        if self._n_files == 0 and not self._plans.tables.matches_any:
            raise NotFoundError(
                f"No file matches {' or '.join(self._selection.include)}",
                subject=str(self._record.uri),
                hint="`prefect-datasets files` lists them; `**` matches across folders.",
            )

    def _tasks(self) -> Iterator[Task[Hands]]:
        if self._mirror.tree:
            yield from self._mirrored([*self._plans])  # while it is being linked
            return
        for plan in self._plans:
            yield from self._by_turns(plan)

    def _by_turns(self, plan: PartPlan) -> Iterator[Task[Hands]]:
        """Yield all tasks of a part, so that links are made while reads wait for the network."""
        both = zip_longest(self._fetches(plan), self._links(plan))
        yield from (task for task in chain.from_iterable(both) if task is not None)

    def _fetches(self, plan: PartPlan) -> Iterator[Task[Hands]]:
        self._n_files += len(plan.rows)
        self._n_bytes += int(plan.members.sizes[plan.rows].sum())
        return fetch_tasks(self._fetcher, plan.members, plan.fetch, pick_up=self._pick_up)

    def _mirrored(self, plans: list[PartPlan]) -> Iterator[Task[Hands]]:
        """Yield all tasks where a tree was linked ahead: what is new is read meanwhile."""
        tree = self._mirror.tree
        source = next((it for it in self._plans.sources if it.files == tree and it.is_loaded), None)
        kept = keep(plans, source) if source else None
        if source is None or kept is None or len(kept.stale) > kept.n_files:
            self._mirror.give_up()
            yield from chain.from_iterable(map(self._by_turns, plans))
            return
        self._fetcher.gate.shut()
        links = [*plans]
        yield partial(self._put_right, source, kept, links)
        yield from chain.from_iterable(map(self._fetches, plans))
        self._fetcher.gate.wait()
        yield from chain.from_iterable(map(self._links, links))

    def _put_right(self, source: Source, kept: Kept, links: list[PartPlan], _: Hands) -> None:
        """Wait for the tree that was linked, and remove what is not kept of it.

        Args:
            source: The tree.
            kept: What is left to do then.
            links: The plans whose links are to be made. Those of `kept` take their place, unless
                the tree could not be linked.
        """
        with self._fetcher.gate.opening():
            if not self._mirror.take(source.n_rows, source.name_checksum):
                return
            remove(self._attempt.files, kept.stale, self._writers.made)
            links[:] = kept.plans
            self._n_linked_files += kept.n_files
            self._progress.advance(n_files=kept.n_files, n_bytes=kept.n_bytes)

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
        for left in self._plans.leftovers:
            pieces = left.done.pieces.get((members.part, place.row))
            if pieces and left.is_dead and self._take_over(left, path):
                for start, length in pieces:
                    self._attempt.note_piece(members.part, place.row, start, length)
                return pieces
        return set()

    def _take_over(self, left: Leftover, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        with Folders(self._attempt.files, make=True, made=self._writers.made) as folders:
            try:
                os.rename(left.folder / "files" / path, name, dst_dir_fd=folders.get(folder))
            except OSError:
                return False
        return True
