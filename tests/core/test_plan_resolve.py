"""The plan covers each file once, in reads of a bounded size, over gaps where that is cheaper."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.cache.cache import Selection
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.reads import CostModel, Places, plan_fetch
from prefect_datasets.core.resolve.plan import DigestIndex, in_shard, mask_of, ranges_of, weight_of


def places_of(drawn: list[tuple[int, int, int]]) -> Places:
    """Lay files out in three objects, one after the other with gaps."""
    ends = [0, 0, 0]
    starts: list[int] = []
    for key, gap, size in drawn:
        starts.append(ends[key] + gap)
        ends[key] = starts[-1] + size
    return Places(
        rows=np.arange(len(drawn), dtype=np.int64),
        keys=("a", "b", "c"),
        objects=np.array([key for key, _, _ in drawn], np.int64),
        starts=np.array(starts, np.int64),
        sizes=np.array([size for _, _, size in drawn], np.int64),
    )


members = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 70)), max_size=60
)
costs = st.builds(
    CostModel,
    latency_seconds=st.just(1.0),
    bandwidth=st.integers(0, 40).map(float),
    reads_at_once=st.just(1),
    request_bytes=st.integers(1, 60),
    job_reads=st.integers(1, 5),
)


@given(members, costs, st.randoms(use_true_random=False))
def test_each_file_is_read_once_and_lies_in_its_read(
    drawn: list[tuple[int, int, int]], cost: CostModel, random: object
) -> None:
    places = places_of(drawn)
    order = np.arange(len(drawn))
    random.shuffle(order)  # type: ignore[attr-defined]
    plan = plan_fetch(places[order], cost)
    seen = [file.row for file in plan.large]
    for read in (read for job in plan.jobs for read in job):
        assert read.end > read.first
        for row, start in zip(
            plan.order[read.first : read.end], plan.starts[read.first : read.end], strict=True
        ):
            seen.append(int(row))
            assert read.key == places.keys[places.objects[row]]
            assert start == places.starts[row]
            assert read.start <= start
            assert start + places.sizes[row] <= read.start + read.length
    assert sorted(seen) == list(range(len(drawn)))


@given(members, costs)
def test_reads_keep_within_a_request(drawn: list[tuple[int, int, int]], cost: CostModel) -> None:
    plan = plan_fetch(places_of(drawn), cost)
    for job in plan.jobs:
        assert sum(read.length for read in job) <= cost.request_bytes
        assert len(job) <= cost.job_reads
    assert all(file.n_bytes > cost.request_bytes for file in plan.large)


@given(members, costs)
def test_gaps_are_read_over_only_where_that_is_cheaper(
    drawn: list[tuple[int, int, int]], cost: CostModel
) -> None:
    places = places_of(drawn)
    plan = plan_fetch(places, cost)
    for read in (read for job in plan.jobs for read in job):
        rows = plan.order[read.first : read.end]
        spans = [(int(places.starts[row]), int(places.sizes[row])) for row in rows]
        for (start, size), (next_start, _) in pairwise(spans):
            assert next_start - (start + size) <= cost.max_gap_bytes


def test_neighbours_share_a_read_and_far_ones_do_not() -> None:
    drawn = [(0, 0, 10), (0, 40, 10), (0, 41, 10)]
    cost = CostModel(latency_seconds=1, bandwidth=40, reads_at_once=1)
    [job] = plan_fetch(places_of(drawn), cost).jobs
    assert [(read.start, read.length) for read in job] == [(0, 60), (101, 10)]


def test_a_million_files_in_one_package_make_few_reads() -> None:
    n = 1_000_000
    places = Places(
        rows=np.arange(n),
        keys=("p",),
        objects=np.zeros(n, np.int64),
        starts=np.arange(n) * 1_050,
        sizes=np.full(n, 1_000),
    )
    plan = plan_fetch(places, CostModel())
    assert len(plan.jobs) == -(-n * 1_050 // (8 << 20))


# -- digests ----------------------------------------------------------------------------------

digests = st.lists(st.binary(min_size=3, max_size=3), max_size=20).map(
    lambda tails: [bytes(7) + tail[:1] + bytes(22) + tail[1:] for tail in tails]
)


@given(digests, digests)
def test_what_is_found_has_the_same_digest_and_size(have: list[bytes], want: list[bytes]) -> None:
    def matrix(values: list[bytes]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        return np.frombuffer(b"".join(values), np.uint8).reshape(-1, 32)

    sizes = np.array([value[-1] % 3 for value in have], np.int64)
    wanted = np.array([value[-1] % 3 for value in want], np.int64)
    found = DigestIndex(sizes, matrix(have)).find(wanted, matrix(want))
    for row, value in zip(found.tolist(), want, strict=True):
        assert row == -1 or have[row] == value
    heads = [value[:8] for value in have]
    for row, value in zip(found.tolist(), want, strict=True):
        if heads.count(value[:8]) == 1 and value in have:
            assert row == have.index(value)


# -- shards -----------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(1, 9), st.integers(0, 40))
def test_each_file_is_in_exactly_one_shard(sizes: list[int], n: int, cut: int) -> None:
    column = np.array(sizes, np.int64)
    total = weight_of(column)
    first, second = column[:cut], column[cut:]  # two parts
    masks = [
        np.concatenate(
            (
                in_shard(first, 0, total, (k, n)),
                in_shard(second, weight_of(first), total, (k, n)),
            )
        )
        for k in range(n)
    ]
    assert (np.sum(masks, axis=0) == 1).all() if sizes else True
    for mask in masks:  # neighbours
        assert len(ranges_of(np.flatnonzero(mask))) <= 1


def test_shards_have_about_the_same_bytes() -> None:
    sizes = np.random.default_rng(0).integers(0, 1000, 10_000)
    shares = [sizes[in_shard(sizes, 0, weight_of(sizes), (k, 4))].sum() for k in range(4)]
    assert max(shares) - min(shares) < 5_000


@pytest.mark.parametrize("shard", [(1, 1), (-1, 2), (0, 0)])
def test_a_shard_that_is_none_is_refused(shard: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="first is 0/N"):
        Selection(shard=shard)


# -- ranges -----------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=40))
def test_ranges_and_masks_say_the_same(flags: list[bool]) -> None:
    mask = np.array(flags, np.bool_)
    ranges = ranges_of(np.flatnonzero(mask))
    assert (mask_of(ranges, len(flags)) == mask).all()
    assert all(end < first for (_, end), (first, _) in pairwise(ranges))
