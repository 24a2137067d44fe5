"""Decide for each part of a version what to link from where, and what to fetch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from prefect_datasets.core import compute as pc
from prefect_datasets.core.cache import attempt as attempts
from prefect_datasets.core.columns import Int64s, digest_matrix, mask, take
from prefect_datasets.core.resolve.fetch import Members
from prefect_datasets.core.resolve.part_tables import PartTables
from prefect_datasets.core.resolve.plan import mask_of
from prefect_datasets.core.resolve.sources import Source, find_sources

if TYPE_CHECKING:
    from prefect_datasets.core.cache.attempt import Attempt
    from prefect_datasets.core.cache.cache import Selection
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.reads import CostModel
    from prefect_datasets.core.resolve.ahead import FirstTable
    from prefect_datasets.core.store import Store

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Link:
    """Rows of a part whose files lie in another tree.

    Attributes:
        files: The other tree.
        rows: The rows.
        others: Their rows in the other tree's tables; of an earlier attempt none.
        paths: Their paths there.
        is_own: The other tree is an earlier attempt at this one.
    """

    files: Path
    rows: Int64s
    others: Int64s
    paths: pa.Array
    is_own: bool


@dataclass(frozen=True, slots=True)
class PartPlan:
    """What to do for one part."""

    members: Members
    rows: Int64s
    links: tuple[Link, ...]
    fetch: Int64s


class PartPlans:
    """The plans of a version's parts; whoever leaves the block gives the other trees back.

    Args:
        record: The version.
        selection: Which of its files.
        attempt: Where they go.
        store: Where they are.
        cost: What reading costs.
        first: The first table, if it is being fetched already.
    """

    def __init__(
        self,
        record: VersionRecord,
        selection: Selection,
        attempt: Attempt,
        *,
        store: Store,
        cost: CostModel,
        first: FirstTable | None,
    ) -> None:
        self._cost = cost
        self.leftovers = attempts.leftovers(attempt.entry, mine=attempt.folder)
        self.sources = find_sources(attempt.cache, attempt.entry, record)
        self.tables = PartTables(
            record,
            selection,
            store=store,
            folder=attempt.parts,
            elsewhere=[left.folder / "parts" for left in self.leftovers]
            + [source.tables for source in self.sources if source.is_same(record)],
            first=first,
        )

    def give_back(self) -> None:
        """End the leases on other trees."""
        for source in self.sources:
            source.give_back()

    def __iter__(self) -> Iterator[PartPlan]:
        """Yield the plan of each part; made when its turn comes, since it takes memory."""
        return (self._plan(index) for index in self.tables.indexes)

    def needs(self) -> tuple[int, int]:
        """Return exactly how many bytes and files will be fetched and made."""
        n_bytes = n_files = 0
        for plan in self:
            n_bytes += int(plan.members.sizes[plan.fetch].sum())
            n_files += len(plan.rows)
        for source in self.sources:
            source.give_back_unused()
        return n_bytes, n_files

    def _plan(self, index: int) -> PartPlan:
        members, rows = self.tables.load(index)
        links = [*self._leave(members, rows)]
        pending = _without(rows, links)
        for source in self.sources:
            if not self._is_worth_reading(source, members, pending):
                break
            links += self._find(source, members, pending)
            pending = _without(pending, links)
        return PartPlan(members, rows, tuple(links), pending)

    def _leave(self, members: Members, rows: Int64s) -> Iterator[Link]:
        """Yield what earlier attempts have made of the rows."""
        for left in self.leftovers:
            whole = mask_of(left.done.rows.get(members.part, []), len(members.paths))
            there = rows[whole[rows]]
            rows = rows[~whole[rows]]
            if len(there):
                paths = take(members.paths, there)
                yield Link(left.folder / "files", there, _NONE, paths, is_own=True)

    def _is_worth_reading(self, source: Source, members: Members, pending: Int64s) -> bool:
        """Tell whether to look for the rows in another tree.

        In the most promising always, for the disk's sake; in others if that may be quicker than
        fetching them.
        """
        if not len(pending):
            return False
        if source.is_loaded or source is self.sources[0]:
            return True
        return source.read_seconds < int(members.sizes[pending].sum()) / self._cost.bandwidth

    def _find(self, source: Source, members: Members, pending: Int64s) -> Iterator[Link]:
        assert members.digests is not None
        digests = digest_matrix(members.digests)
        found = source.find(members.sizes[pending], digests[pending])
        there = found >= 0
        if there.any():
            others = found[there]
            paths = source.paths(others)
            yield Link(source.files, pending[there], others, paths, is_own=False)


def _without(rows: Int64s, links: list[Link]) -> Int64s:
    """Return the rows that no link covers; both ascend."""
    if not links:
        return rows
    covered = np.concatenate([link.rows for link in links])
    return rows[~np.isin(rows, covered)]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left to do where a tree was linked whole.

    Attributes:
        plans: The plans, without the links that are there.
        n_files: How many are.
        n_bytes: Sum of their sizes.
        stale: Paths of the other tree that are not in the version, or with other bytes.
    """

    plans: list[PartPlan]
    n_files: int
    n_bytes: int
    stale: list[str]


def keep(plans: list[PartPlan], source: Source) -> Kept:
    """Leave out of plans what lies at the same path in a tree that was linked whole."""
    is_kept = np.zeros(source.n_rows, np.bool_)
    left: list[PartPlan] = []
    n_bytes = 0
    for plan in plans:
        links: list[Link] = []
        for link in plan.links:
            if link.files != source.files:
                links.append(link)
                continue
            same = mask(pc.equal(link.paths, take(plan.members.paths, link.rows)))
            is_kept[link.others[same]] = True
            n_bytes += int(plan.members.sizes[link.rows[same]].sum())
            links.append(_of(link, np.flatnonzero(~same)))
        left.append(replace(plan, links=tuple(links)))
    stale = source.paths(np.flatnonzero(~is_kept)).to_pylist()
    return Kept(left, int(is_kept.sum()), n_bytes, stale)


def _of(link: Link, which: Int64s) -> Link:
    """Return some of the rows of a link."""
    paths = take(link.paths, which)
    return replace(link, rows=link.rows[which], others=link.others[which], paths=paths)
