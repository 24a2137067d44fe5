"""How a package is cut into pieces for its upload."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.publish.plan_pieces import (
    CopyPiece,
    Group,
    Run,
    Sizes,
    find_runs,
    plan_pieces,
)

SIZES = Sizes(piece_bytes=100, min_piece_bytes=40)


def starts_of(sizes: list[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(np.array(sizes, np.int64), dtype=np.int64)))


@st.composite
def packages(draw: st.DrawFn) -> tuple[np.ndarray, list[Run]]:
    """Draw members with some of them lying side by side in stored packages."""
    sizes = draw(st.lists(st.integers(1, 400), max_size=40))
    starts = starts_of(sizes)
    origin = draw(
        st.lists(st.integers(-1, 1), min_size=len(sizes), max_size=len(sizes)),
    )
    shifts = {-1: 0, 0: 1000, 1: 7}
    stored_at = starts[:-1] + np.array([shifts[o] for o in origin], np.int64)
    codes = np.array(origin, np.int64)
    return starts, find_runs(starts, codes, stored_at, ["a", "b"], least_bytes=80)


def pieces_of(plan: list[CopyPiece | Group]) -> list[tuple[int, int, int]]:
    """Return number, begin and end of each piece that the plan makes."""
    pieces: list[tuple[int, int, int]] = []
    for item in plan:
        if isinstance(item, CopyPiece):
            pieces.append((item.index, item.offset, item.offset + item.n_bytes))
        else:
            cuts = pairwise(item.cuts)
            pieces += [(item.index + k, low, high) for k, (low, high) in enumerate(cuts)]
    return pieces


@given(packages())
def test_pieces_cover_the_package_without_gaps(package: tuple[np.ndarray, list[Run]]) -> None:
    starts, runs = package
    pieces = pieces_of(plan_pieces(starts, runs, SIZES))
    assert [index for index, _, _ in pieces] == list(range(len(pieces)))
    assert [low for _, low, _ in pieces] == [0, *(high for _, _, high in pieces)][: len(pieces)]
    assert (pieces[-1][2] if pieces else 0) == starts[-1]


@given(packages())
def test_all_but_the_last_piece_have_the_least_size(
    package: tuple[np.ndarray, list[Run]],
) -> None:
    starts, runs = package
    pieces = pieces_of(plan_pieces(starts, runs, SIZES))
    assert all(high - low >= SIZES.min_piece_bytes for _, low, high in pieces[:-1])


@given(packages())
def test_every_member_is_built_or_copied_once(package: tuple[np.ndarray, list[Run]]) -> None:
    starts, runs = package
    plan = plan_pieces(starts, runs, SIZES)
    built = [m for item in plan if isinstance(item, Group) for m in range(item.first, item.end)]
    copied = [
        m
        for item in plan
        if isinstance(item, CopyPiece)
        for m in range(len(starts) - 1)
        if item.offset <= starts[m] < item.offset + item.n_bytes
    ]
    assert sorted([*built, *copied]) == list(range(len(starts) - 1))


@given(packages())
def test_copies_take_the_members_from_where_they_are(
    package: tuple[np.ndarray, list[Run]],
) -> None:
    starts, runs = package
    shifts = {"a": 1000, "b": 7}
    for item in plan_pieces(starts, runs, SIZES):
        if isinstance(item, CopyPiece):
            assert item.start == item.offset + shifts[item.key]


def test_a_large_file_ends_its_group_and_is_cut() -> None:
    [small, tail] = plan_pieces(starts_of([10, 10, 500_000, 30]), (), Sizes(100_000, 40_000))
    assert isinstance(small, Group)
    assert (small.first, small.end) == (0, 3)
    assert small.cuts[0] == 0
    assert small.cuts[-1] == 500_020
    assert len(small.cuts) > 3
    assert isinstance(tail, Group)
    assert (tail.first, tail.end) == (3, 4)


def test_a_large_files_first_part_is_long_enough_for_an_object_of_its_own() -> None:
    sizes = Sizes(piece_bytes=16 << 20, min_piece_bytes=5 << 20)
    [group] = plan_pieces(starts_of([15 << 20, 100 << 20]), (), sizes)
    assert isinstance(group, Group)
    assert group.cuts[1] - (15 << 20) >= sizes.min_piece_bytes


def test_tiny_files_are_cut_by_number() -> None:
    plan = plan_pieces(starts_of([1] * 10_000), (), Sizes(16 << 20, 1))
    assert len(plan) == 3


def test_nothing_to_do_for_no_members() -> None:
    assert plan_pieces(np.zeros(1, np.int64), (), SIZES) == []
