"""A collection while others publish, and one that is killed; what is committed is whole."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from prefect_datasets.core.errors import ConflictError
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.publish import journal
from prefect_datasets.core.publish.publish import (
    begin,
    commit,
    package_version,
    plan_directory,
    publish_part,
)
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.store.local import LocalStore
from prefect_datasets.core.versions import catalog, deletion, once
from prefect_datasets.core.versions.garbage import collect, plan_garbage
from tests.core.collected import FILES, days_pass, is_whole, plan, store_parts
from tests.core.published import Policy, declare, publish, uri, write_files

both_ways = pytest.mark.parametrize("packaging", [False, True])


class Killed(BaseException):
    """The process is killed."""


class Mortal(LocalStore):
    """A store whose process is killed after some deletions."""

    def __init__(self, root: Path, n_left: int) -> None:
        super().__init__(root, {})
        self.n_left = n_left

    def delete(self, keys: Iterable[str]) -> None:
        """Delete one by one."""
        for key in keys:
            if not self.n_left:
                raise Killed
            super().delete([key])
            self.n_left -= 1


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_files(tmp_path / "out", FILES)


@both_ways
def test_what_a_killed_collection_leaves_is_not_taken_up(
    store: Store, out: Path, tmp_path: Path, packaging: bool
) -> None:
    store_parts(plan(out, store, "v1", packaging=packaging), store)
    days_pass(tmp_path / "store")
    n_garbage = len(plan_garbage(store, time.time()).keys)
    assert n_garbage > len(FILES)
    for n_deleted in range(n_garbage):
        root = tmp_path / str(n_deleted)
        shutil.copytree(tmp_path / "store", root)
        mortal = Mortal(root, n_deleted)
        with pytest.raises(Killed):
            collect(mortal, plan_garbage(mortal, time.time()))
        again = open_store(str(root))
        assert is_whole(again, publish(out, again, "v1", packaging=packaging).uri)


@both_ways
@pytest.mark.parametrize("is_committed", [False, True])
def test_what_is_taken_up_during_a_collection_stays(
    store: Store, out: Path, tmp_path: Path, packaging: bool, is_committed: bool
) -> None:
    left = store_parts(plan(out, store, "v1", packaging=packaging), store)
    days_pass(tmp_path / "store")
    garbage = plan_garbage(store, time.time())
    assert left[0].table in garbage.keys
    again = plan(out, store, "v1", packaging=packaging)
    done = store_parts(again, store)
    if not is_committed:
        collect(store, garbage)
    commit(again.versions[0], done, store=store)
    collect(store, garbage)
    assert is_whole(store, uri("v1"))


@both_ways
def test_what_is_collected_before_it_is_taken_up_is_missed(
    store: Store, out: Path, tmp_path: Path, packaging: bool
) -> None:
    store_parts(plan(out, store, "v1", packaging=packaging), store)
    days_pass(tmp_path / "store")
    again = plan(out, store, "v1", packaging=packaging)
    collect(store, plan_garbage(store, time.time()))
    with pytest.raises(ConflictError, match="Publish it again"):
        begin(again, store=store)
    assert journal.open_attempts(store, uri("v1")) == []
    assert is_whole(store, publish(out, store, "v1", packaging=packaging).uri)


def test_a_publish_that_stood_still_for_longer_than_the_grace_commits_nothing(
    store: Store, out: Path, tmp_path: Path
) -> None:
    planned = plan(out, store, "v1", packaging=False)
    done = store_parts(planned, store)
    tables = {part.table: store.read(part.table) for part in done}
    days_pass(tmp_path / "store")
    collect(store, plan_garbage(store, time.time()))
    for key, table in tables.items():  # the last that it writes
        store.write(key, table)
    with pytest.raises(ConflictError, match="Publish it again"):
        commit(planned.versions[0], done, store=store)
    assert catalog.read_record(store, uri("v1")) is None


def test_a_publish_that_takes_longer_than_the_grace_keeps_what_it_uses(
    store: Store, out: Path, tmp_path: Path
) -> None:
    base = publish(out, store, "v1").uri
    new = write_files(tmp_path / "new", {"d": b"4"})
    declared = declare("v2", packaging=False, base=base)
    planned = plan_directory(new, store=store, to=[declared])
    begin(planned, store=store)
    deletion.delete(store, deletion.plan_delete(store, base))
    days_pass(tmp_path / "store")
    done = [publish_part(part, store=store) for part in planned.versions[0].parts]
    collect(store, plan_garbage(store, time.time()))
    assert is_whole(store, commit(planned.versions[0], done, store=store).uri)


def test_a_name_comes_back_in_other_parts_after_a_killed_deletion(
    out: Path, tmp_path: Path
) -> None:
    for n_deleted in range(4):
        root = tmp_path / str(n_deleted)
        store = open_store(str(root))
        publish(out, store, "v1", packaging=False, policy=Policy(max_package_bytes=1))
        package_version(uri("v1"), store=store)
        mortal = Mortal(root, n_deleted)
        try:
            deletion.delete(mortal, deletion.plan_delete(mortal, uri("v1")))
        except Killed:
            assert n_deleted < 3
        publish(out, store, "v1", packaging=False)
        assert catalog.find(store, uri("v1")).n_files == len(FILES)
        assert is_whole(store, uri("v1"))


def did_once(store: Store, record: VersionRecord, work: str) -> str:
    """Do some work for a version and return its place."""
    turn = once.begin(store, record, work, who={})
    assert isinstance(turn, once.Turn)
    assert turn.finish()
    return keys.once_prefix(record.uri, record.digest, work)


def test_who_did_work_is_forgotten_with_the_version(
    store: Store, out: Path, tmp_path: Path
) -> None:
    gone, stays = publish(out, store, "v1"), publish(out, store, "v2")
    places = [did_once(store, gone, "train"), did_once(store, gone, "a/b")]
    kept = did_once(store, stays, "train")
    deletion.delete(store, deletion.plan_delete(store, gone.uri))
    assert plan_garbage(store, time.time()).keys == (), "within the grace period"
    days_pass(tmp_path / "store")
    collect(store, plan_garbage(store, time.time()))
    assert [info.key for place in places for info in store.list(place)] == []
    assert sorted(info.key for info in store.list(kept)) == [
        f"{kept}done.json",
        f"{kept}turn-0.json",
    ]


def test_who_did_work_is_known_to_a_version_that_comes_back(
    store: Store, out: Path, tmp_path: Path
) -> None:
    record = publish(out, store, "v1", packaging=False)
    place = did_once(store, record, "train")
    deletion.delete(store, deletion.plan_delete(store, record.uri))
    days_pass(tmp_path / "store")
    garbage = plan_garbage(store, time.time())
    assert f"{place}done.json" in garbage.keys
    again = plan(out, store, "v1", packaging=False)
    done = store_parts(again, store)
    collect(store, garbage)
    assert store.info(f"{place}done.json") is not None, "it may be committed"
    back = commit(again.versions[0], done, store=store)
    collect(store, garbage)
    assert isinstance(once.begin(store, back, "train", who={}), once.Taken)


def test_the_turns_of_work_that_goes_on_stay(store: Store, out: Path, tmp_path: Path) -> None:
    record = publish(out, store, "v1", packaging=False)
    first = once.begin(store, record, "train", who={})
    assert isinstance(first, once.Turn)
    first.give_up()
    deletion.delete(store, deletion.plan_delete(store, record.uri))
    days_pass(tmp_path / "store")
    second = once.begin(store, record, "train", who={}, lease_seconds=1)
    assert isinstance(second, once.Turn)
    collect(store, plan_garbage(store, time.time()))
    assert isinstance(once.begin(store, record, "train", who={"run": "x"}), once.Taken)
    second.give_up()
