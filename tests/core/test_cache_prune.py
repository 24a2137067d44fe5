"""What a prune takes, and what it leaves."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.cache import prune
from prefect_datasets.core.cache.attempt import Attempt
from prefect_datasets.core.cache.cache import VERSIONS, Cache, Entry
from prefect_datasets.core.cache.prune import (
    Candidate,
    clear,
    condemn,
    plan_clear,
    plan_prune,
    survey,
)
from tests.core.cached import DAY, DIGEST, URI, fill


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def candidate(number: int, age: float, n_bytes: int, in_use: bool, is_tree: bool) -> Candidate:
    entry = Entry(Path("/c"), VERSIONS, "pets", str(number)) if is_tree else None
    return Candidate(Path(f"/c/{number}"), str(number), entry, 1e9 - age, n_bytes, in_use)


candidates = st.lists(
    st.tuples(st.floats(0, 1e6), st.integers(0, 100), st.booleans(), st.booleans()), max_size=12
).map(
    lambda drawn: sorted(
        (candidate(number, *values) for number, values in enumerate(drawn)),
        key=lambda item: (item.in_use, item.last_used),
    )
)


@given(candidates, st.integers(0, 600))
def test_a_budget_is_kept_without_taking_more_than_needed(
    found: list[Candidate], budget: int
) -> None:
    plan = plan_prune(found, now=1e9, max_bytes=budget)
    assert {*plan.frees, *(kept for kept, _ in plan.keeps)} == set(found)
    assert not any(item.in_use for item in plan.frees)
    trees = [item for item in plan.frees if item.entry]
    free_trees = [item for item, why in plan.keeps if item.entry and why != "in use"]
    if plan.n_kept_bytes > budget:
        assert not free_trees
    if trees:  # without the last one it would not have been enough
        assert plan.n_kept_bytes + trees[-1].n_bytes > budget or not trees[-1].n_bytes
    for kept in free_trees:
        assert all(freed.last_used <= kept.last_used for freed in trees)


@given(candidates, st.floats(0, 1e6))
def test_an_age_takes_all_that_is_older_and_unused(found: list[Candidate], age: float) -> None:
    plan = plan_prune(found, now=1e9, unused_seconds=age)
    for item in found:
        if item.entry:
            assert (item in plan.frees) == (not item.in_use and 1e9 - item.last_used >= age)
        else:
            assert (item in plan.frees) == (not item.in_use and 1e9 - item.last_used >= DAY)


def test_shared_files_are_counted_where_their_last_link_goes(cache: Cache) -> None:
    old = fill(cache, "v1-x", {"a": b"x" * 8192, "own": b"y" * 4096}, used=1.0)
    new = fill(cache, "v2-x", {"b": b"z" * 4096}, used=2.0)
    os.link(old.files / "a", new.files / "a")
    first, second = survey(cache)
    assert (first.entry, second.entry) == (old, new)
    small = fill(cache, "v3-x", {}, used=3.0).folder
    overhead = survey(cache)[2].n_bytes
    assert first.n_bytes - overhead == 4096
    assert second.n_bytes - overhead == 4096 + 8192
    assert small.exists()


def test_prune_gives_back_what_it_said(cache: Cache) -> None:
    fill(cache, "v1-x", {"d/a": b"x" * 8192}, used=1.0)
    kept = fill(cache, "v2-x", {"b": b"z" * 4096})
    plan = plan_prune(survey(cache), now=time.time(), unused_seconds=DAY)
    assert [item.name for item in plan.frees] == ["versions/pets/v1-x"]
    assert prune.prune(cache, plan) == plan.n_bytes
    assert [entry.name for entry in cache.entries()] == [kept.name]


def test_a_tree_that_came_into_use_since_the_plan_stays(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {}, used=1.0)
    plan = plan_prune(survey(cache), now=time.time(), unused_seconds=DAY)
    cache.use(entry)
    prune.prune(cache, plan)
    assert cache.use(entry) is not None


def test_a_killed_prune_is_finished_by_the_next(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"})
    entry.ready.rename(entry.condemned)
    (cache.root / "trash").mkdir(exist_ok=True)
    other = fill(cache, "v2-x", {"a": b"1"})
    other.folder.rename(cache.root / "trash" / "grave")
    plan = plan_prune(survey(cache), now=time.time(), unused_seconds=DAY)
    prune.prune(cache, plan)
    assert not list(cache.entries())
    assert not list((cache.root / "trash").iterdir())


def test_a_killed_prune_of_a_tree_in_use_is_undone(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"})
    cache.use(entry)
    entry.ready.rename(entry.condemned)
    assert condemn(cache, entry) is None
    assert entry.read_ready() is not None


def test_young_attempts_stay_and_old_ones_go(cache: Cache) -> None:
    entry = Entry(cache.root, VERSIONS, "pets", "v1-x")
    attempt = Attempt(cache, entry)
    attempt.keep()
    plan = plan_prune(survey(cache), now=time.time(), max_bytes=0)
    assert [why for _, why in plan.keeps] == ["a resolve can go on with it"]
    plan = plan_prune(survey(cache), now=time.time() + DAY, max_bytes=0)
    assert [item.folder for item in plan.frees] == [attempt.folder]
    prune.prune(cache, plan)
    assert not attempt.folder.exists()


def test_an_attempt_at_work_is_never_taken(cache: Cache) -> None:
    attempt = Attempt(cache, Entry(cache.root, VERSIONS, "pets", "v1-x"))
    plan = plan_prune(survey(cache), now=time.time() + 10 * DAY, max_bytes=0)
    assert not plan.frees
    clear(cache, plan_clear(survey(cache)))
    assert attempt.folder.exists()
    attempt.drop()


def test_clear_takes_all_but_what_is_in_use(cache: Cache) -> None:
    used = fill(cache, "v1-x", {})
    fill(cache, "v2-x", {"a": b"1"})
    cache.point("s", URI, DIGEST)
    cache.use(used)
    plan = plan_clear(survey(cache))
    assert [kept.name for kept, _ in plan.keeps] == ["versions/pets/v1-x"]
    assert clear(cache, plan) >= plan.n_bytes > 0
    assert [entry.name for entry in cache.entries()] == ["v1-x"]
    assert cache.digest_of("s", URI) is None


def test_read_only_folders_and_links_to_folders_are_deleted(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a/b/c": b"1"})
    (entry.files / "loop").symlink_to(entry.files)
    for folder in ("a/b", "a", "."):
        (entry.files / folder).chmod(0o555)
    assert condemn(cache, entry) is not None
    assert not list((cache.root / "trash").iterdir())
