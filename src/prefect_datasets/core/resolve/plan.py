"""Which rows of a version are wanted here, and what is there already: pure, columns in and out.

A million files are a few arrays here. `rows` are always row numbers of one part's table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prefect_datasets.core.columns import Bools, Int64s

if TYPE_CHECKING:
    from prefect_datasets.core.cache.cache import Selection
    from prefect_datasets.core.format.record import VersionRecord

# -- which rows -------------------------------------------------------------------------------


def parts_of(record: VersionRecord, selection: Selection) -> list[int]:
    """Return the parts that may hold selected files, by what the record alone says.

    A shard of a selection by name can only be told apart when all names are known.
    """
    everything = list(range(len(record.parts)))
    if selection.shard is None or selection.include:
        return everything
    total = sum(map(_weight, record.parts))
    low, high = shard_range(total, selection.shard)
    ends = np.cumsum([_weight(part) for part in record.parts])
    starts = ends - [_weight(part) for part in record.parts]
    return [i for i in everything if starts[i] < high and ends[i] > low]


def _weight(part: Any) -> int:
    return part.n_bytes + part.n_files


def shard_range(total: int, shard: tuple[int, int]) -> tuple[int, int]:
    """Return which weights, from the first up to the second, are a shard's share of `total`."""
    k, n = shard
    return -(-total * k // n), -(-total * (k + 1) // n)


def in_shard(sizes: Int64s, before: int, total: int, shard: tuple[int, int]) -> Bools:
    """Tell which files belong to a shard: those that begin in its share of the bytes.

    Shares are neighbours in path order, because those lie together in a package: n readers then
    make a few large reads each instead of one small one per file. Every file weighs one byte more
    than it has, so that empty ones are spread as well.

    Args:
        sizes: Sizes of the next files in path order.
        before: Weight of all selected files before them.
        total: Weight of all selected files.
        shard: `(k, n)`.
    """
    weights = sizes + 1
    starts = before + np.cumsum(weights) - weights
    low, high = shard_range(total, shard)
    return (starts >= low) & (starts < high)


def weight_of(sizes: Int64s) -> int:
    """Return what files of these sizes weigh in the division into shards."""
    return int(sizes.sum()) + len(sizes)


# -- what is there already --------------------------------------------------------------------


class DigestIndex:
    """Finds rows of a table by size and digest.

    Args:
        sizes: Their sizes.
        digests: Their SHA-256, 32 bytes each: shape (n, 32).
    """

    def __init__(self, sizes: Int64s, digests: npt.NDArray[np.uint8]) -> None:
        self._sizes = sizes
        self._digests = _words(digests)
        heads = self._digests[:, 0]
        self._by_head = np.argsort(heads)
        self._heads = heads[self._by_head]

    def find(self, sizes: Int64s, digests: npt.NDArray[np.uint8]) -> Int64s:
        """Return for each wanted file a row with the same size and digest, or -1.

        Digests are looked up by their first eight bytes and then compared whole. Of several that
        begin alike only the first is compared: one missed is fetched, and right all the same.
        """
        if not len(self._heads) or not len(sizes):
            return np.full(len(sizes), -1, np.int64)
        wanted = _words(digests)
        at = np.minimum(_places(self._heads, wanted[:, 0]), len(self._heads) - 1)
        rows = self._by_head[at]
        same = (self._digests[rows] == wanted).all(axis=1) & (self._sizes[rows] == sizes)
        return np.where(same, rows, -1)


def _words(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return digests as four numbers each."""
    return np.ascontiguousarray(digests).view(np.uint64)


def _places(heads: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> Int64s:
    """Return where each wanted head would stand; in their order, they are found in the cache."""
    order = np.argsort(wanted)
    places = np.empty(len(wanted), np.int64)
    places[order] = np.searchsorted(heads, wanted[order])
    return places


def ranges_of(rows: Int64s) -> list[tuple[int, int]]:
    """Return ascending rows as ranges, first and end."""
    if not len(rows):
        return []
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    firsts = rows[np.concatenate(([0], breaks))]
    lasts = rows[np.concatenate((breaks - 1, [len(rows) - 1]))]
    return list(zip(firsts.tolist(), (lasts + 1).tolist(), strict=True))


def mask_of(ranges: Sequence[tuple[int, int]], n_rows: int) -> Bools:
    """Return ranges of rows as a mask; what lies outside of the table is ignored."""
    mask = np.zeros(n_rows, np.bool_)
    for first, end in ranges:
        mask[max(first, 0) : max(end, 0)] = True
    return mask
