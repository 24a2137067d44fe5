"""In which pieces a package is uploaded: pure, from offsets alone.

A package is a sequence of members, then its directory. Runs of members that lie as they are in
another stored package are copied inside the store; the rest is built in memory, in groups of whole
members. Pieces follow each other without gaps; the directory goes with the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

# Stores refuse to copy more than 5 GiB at once; smaller ranges can go side by side.
_MAX_COPY_BYTES = 1 << 30
# A group of tiny files is cut by their number, so that its single uploads stay countable.
_MAX_GROUP_FILES = 4096


@dataclass(frozen=True, slots=True)
class Run:
    """Members `first` to `end` (exclusive) that lie side by side in a stored package.

    Attributes:
        first: First member.
        end: Member after the last.
        key: Key of the package that has them.
        start: Where the first member's local header begins there.
    """

    first: int
    end: int
    key: str
    start: int


@dataclass(frozen=True, slots=True)
class CopyPiece:
    """A piece that the store copies: `n_bytes` from `start` of object `key` to `offset`."""

    index: int
    offset: int
    n_bytes: int
    key: str
    start: int


@dataclass(frozen=True, slots=True)
class Group:
    """Members `first` to `end` (exclusive), built in memory.

    Attributes:
        index: Number of its first piece.
        first: First member.
        end: Member after the last.
        cuts: Offsets at which its pieces begin, and the offset at which the last ends. More than
            one piece means that the last member is large: the others and the beginning of that one
            are the first piece.
    """

    index: int
    first: int
    end: int
    cuts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What an upload asks of its pieces.

    Attributes:
        piece_bytes: The size to aim at.
        min_piece_bytes: The least for all but the last piece.
    """

    piece_bytes: int
    min_piece_bytes: int


def plan_pieces(starts: Int64s, runs: Sequence[Run], sizes: Sizes) -> list[CopyPiece | Group]:
    """Cut a package into pieces.

    Args:
        starts: Where each member begins, and as last value where the directory does.
        runs: What can be copied inside the store, in member order.
        sizes: What the upload asks for.

    Returns:
        The pieces in the order of their offsets. The directory is not among them: it is appended to
        the last group if that is the last piece, and a piece of its own after a copy.
    """
    pieces: list[CopyPiece | Group] = []
    index = 0
    for stretch in _stretches(starts, runs, sizes):
        if isinstance(stretch, Run):
            pieces.extend(_copies(stretch, starts, index))
        else:
            pieces.extend(_groups(*stretch, starts, index, sizes))
        last = pieces[-1]
        index = last.index + (len(last.cuts) - 1 if isinstance(last, Group) else 1)
    return pieces


def find_runs(
    starts: Int64s, packages: Int64s, stored_at: Int64s, keys: Sequence[str], *, least_bytes: int
) -> list[Run]:
    """Find the members that lie side by side in a stored package, in runs of `least_bytes` or more.

    Args:
        starts: As for `plan_pieces`.
        packages: Which of `keys` holds the member; negative where none does.
        stored_at: Where the member's local header begins there.
        keys: Keys of stored packages.
        least_bytes: Shorter runs are left out.
    """
    if len(packages) == 0:
        return []
    shift = stored_at - starts[:-1]
    breaks = np.flatnonzero((np.diff(packages) != 0) | (np.diff(shift) != 0)) + 1
    firsts = np.concatenate(([0], breaks))
    ends = np.concatenate((breaks, [len(packages)]))
    worth = (packages[firsts] >= 0) & (starts[ends] - starts[firsts] >= least_bytes)
    return [
        Run(int(first), int(end), keys[int(packages[first])], int(stored_at[first]))
        for first, end in zip(firsts[worth], ends[worth], strict=True)
    ]


def _stretches(
    starts: Int64s, runs: Sequence[Run], sizes: Sizes
) -> Iterator[Run | tuple[int, int]]:
    """Yield runs to copy and, between them, stretches to build that are no shorter than allowed."""
    built = 0
    large = np.flatnonzero(np.diff(starts) > 2 * sizes.piece_bytes)
    for run in runs:
        begin = run.first
        # A large file ends its group, so what follows it must be long enough for itself.
        before = int(np.searchsorted(large, begin))
        tail = max(built, int(large[before - 1]) + 1 if before else 0)
        short = sizes.min_piece_bytes - int(starts[begin] - starts[tail])
        if tail < begin and short > 0:
            begin = _reaching(starts, int(starts[begin]) + short)
        if begin >= run.end or starts[run.end] - starts[begin] < sizes.min_piece_bytes:
            continue
        if built < begin:
            yield built, begin
        skipped = int(starts[begin] - starts[run.first])
        yield Run(begin, run.end, run.key, run.start + skipped)
        built = run.end
    if built < len(starts) - 1:
        yield built, len(starts) - 1


def _reaching(starts: Int64s, offset: int) -> int:
    """Return the first member that begins at `offset` or behind it."""
    return int(np.searchsorted(starts, offset))


def _copies(run: Run, starts: Int64s, index: int) -> Iterator[CopyPiece]:
    n_bytes = int(starts[run.end] - starts[run.first])
    n_pieces = -(-n_bytes // _MAX_COPY_BYTES)
    cuts = [n_bytes * k // n_pieces for k in range(n_pieces + 1)]
    for number, (low, high) in enumerate(pairwise(cuts)):
        offset = int(starts[run.first]) + low
        yield CopyPiece(index + number, offset, high - low, run.key, run.start + low)


def _groups(first: int, end: int, starts: Int64s, index: int, sizes: Sizes) -> Iterator[Group]:
    for low, high in _group_bounds(first, end, starts, sizes):
        group = Group(index, low, high, _cuts(low, high, starts, sizes))
        index += len(group.cuts) - 1
        yield group


def _group_bounds(first: int, end: int, starts: Int64s, sizes: Sizes) -> list[tuple[int, int]]:
    """Cut a stretch into runs of members of about one piece; the last one may be longer."""
    bounds: list[tuple[int, int]] = []
    low = first
    while low < end:
        full = _reaching(starts, int(starts[low]) + sizes.piece_bytes)
        least = _reaching(starts, int(starts[low]) + sizes.min_piece_bytes)
        high = min(max(min(full, low + _MAX_GROUP_FILES), least, low + 1), end)
        bounds.append((low, high))
        low = high
    if len(bounds) > 1 and starts[end] - starts[bounds[-1][0]] < sizes.min_piece_bytes:
        (_, _), (low, high) = bounds.pop(), bounds[-1]
        is_large = starts[high] - starts[high - 1] > 2 * sizes.piece_bytes
        bounds[-1:] = [(low, high), (high, end)] if is_large else [(low, end)]
    return bounds


def _cuts(first: int, end: int, starts: Int64s, sizes: Sizes) -> tuple[int, ...]:
    """Cut a group whose last member is large into pieces, the member's first part being whole."""
    begin, last, stop = int(starts[first]), int(starts[end - 1]), int(starts[end])
    if stop - last <= 2 * sizes.piece_bytes:
        return begin, stop
    # The large file is also uploaded alone, in the same parts: the first must be long enough.
    cut = last + max(sizes.piece_bytes, sizes.min_piece_bytes + (1 << 17))
    cuts = [begin]
    while stop - cut >= sizes.min_piece_bytes:
        cuts.append(cut)
        cut += sizes.piece_bytes
    return (*cuts, stop)
