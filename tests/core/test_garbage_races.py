"""A collection while others publish, and one that is killed; what is committed is whole."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest

from prefect_datasets.core.errors import ConflictError, NotFoundError
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import PackagesRecord, Part, VersionRecord
from prefect_datasets.core.publish import journal
from prefect_datasets.core.publish.plan import Plan
from prefect_datasets.core.publish.publish import (
    begin,
    commit,
    package_version,
    plan_directory,
    publish_part,
)
from prefect_datasets.core.store import ObjectInfo, Store, open_store
from prefect_datasets.core.store.local import LocalStore
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog, deletion, once
from prefect_datasets.core.versions.garbage import collect, plan_garbage
from prefect_datasets.core.versions.records import read_packages
from prefect_datasets.core.versions.verify import verify
from tests.core.published import Policy, declare, publish, uri, write_files

FILES = {"a": b"1", "b": b"22", "c": b"333"}
HOUR = 3600.0

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


def plan(out: Path, store: Store, name: str, *, packaging: bool) -> Plan:
    return plan_directory(out, store=store, to=[declare(name, packaging=packaging)])


def store_parts(planned: Plan, store: Store) -> list[Part]:
    begin(planned, store=store)
    return [publish_part(part, store=store) for part in planned.versions[0].parts]


def days_pass(root: Path, days: float = 3) -> None:
    """Let everything in a store be older."""
    for path in root.rglob("*"):
        if path.is_file():
            moment = path.stat().st_mtime - days * 24 * HOUR
            os.utime(path, (moment, moment))


def is_whole(store: Store, version: DatasetUri) -> bool:
    return verify(version, store=store, deep=True).faults == ()


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


# -- packages for a version that is being deleted ---------------------------------------------


class Turns:
    """Lets two threads go in a given order, one operation on a store at a time."""

    def __init__(self, order: list[str]) -> None:
        self.order, self.ended = order, set[str]()
        self.changed = threading.Condition()

    def wait(self, name: str) -> None:
        """Wait for the turn of a thread, and take it."""
        with self.changed:
            self.changed.wait_for(lambda: name in self._next())
            if self.order:
                self.order.pop(0)
            self.changed.notify_all()

    def _next(self) -> list[str]:
        self.order = [name for name in self.order if name not in self.ended]
        return self.order[:1] or ["packager", "deleter"]

    def end(self, name: str) -> None:
        """Tell that a thread has ended."""
        with self.changed:
            self.ended.add(name)
            self.changed.notify_all()


class InTurns(LocalStore):
    """A store that waits for its turn before each operation."""

    def __init__(self, root: Path, turns: Turns, name: str) -> None:
        super().__init__(root, {})
        self.turns: Turns | None = None
        self.ignores_conditions()  # asked before it begins
        self.turns, self.name = turns, name

    def _wait(self) -> None:
        if self.turns is not None:
            self.turns.wait(self.name)

    def read(self, key: str) -> bytes:
        """Read in turn."""
        self._wait()
        return super().read(key)

    def info(self, key: str) -> ObjectInfo | None:
        """Look in turn."""
        self._wait()
        return super().info(key)

    def create(self, key: str, data: bytes) -> None:
        """Create in turn."""
        self._wait()
        super().create(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete in turn."""
        self._wait()
        super().delete(keys)


def at_once(turns: Turns, works: dict[str, Callable[[], None]]) -> None:
    """Do several things in threads of their own, in turns."""

    def do(name: str) -> None:
        try:
            works[name]()
        finally:
            turns.end(name)

    threads = [threading.Thread(target=do, args=(name,)) for name in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_packages_made_during_a_deletion_are_not_left_behind(out: Path, tmp_path: Path) -> None:
    source = open_store(str(tmp_path / "source"))
    record = publish(out, source, "v1", packaging=False)
    packaged = package_version(record.uri, store=source)
    later = read_packages(source, record)
    assert later is not None
    source.delete([keys.packages_key(record.uri)])
    outcomes = set[str]()
    n_each = 4  # operations, at most
    for number, places in enumerate(combinations(range(2 * n_each), n_each)):
        order = ["packager" if at in places else "deleter" for at in range(2 * n_each)]
        root = tmp_path / str(number)
        shutil.copytree(tmp_path / "source" / "datasets", root / "datasets")
        outcomes.add(_race(root, order, record=packaged, later=later))
        shutil.rmtree(root)
    assert outcomes == {"recorded", "was deleted"}


def _race(root: Path, order: list[str], *, record: VersionRecord, later: PackagesRecord) -> str:
    turns = Turns(order)
    told = list[str]()

    def package() -> None:
        try:
            catalog.commit_packages(InTurns(root, turns, "packager"), record, later)
        except NotFoundError as error:
            told.append(str(error))

    plan = deletion.Deletion(record=record, aliases=(), children=())
    delete = partial(deletion.delete, InTurns(root, turns, "deleter"), plan)
    at_once(turns, {"packager": package, "deleter": delete})
    left = [info.key for info in open_store(str(root)).list(keys.DATASETS)]
    assert left == [keys.tombstone_key(record.uri)], order
    if told:
        assert "deleted while its packages were made" in told[0]
    return "was deleted" if told else "recorded"


@pytest.fixture
def orphan(store: Store, out: Path) -> str:
    """Packages of a version whose deletion was killed before it looked for them."""
    record = publish(out, store, "v1", packaging=False, policy=Policy(max_package_bytes=1))
    package_version(record.uri, store=store)
    key = keys.packages_key(record.uri)
    data = store.read(key)
    deletion.delete(store, deletion.plan_delete(store, record.uri))
    store.write(key, data)
    return key


def test_packages_that_a_killed_deletion_left_are_freed(
    store: Store, tmp_path: Path, orphan: str
) -> None:
    assert plan_garbage(store, time.time()).keys == (), "within the grace period"
    days_pass(tmp_path / "store")
    garbage = plan_garbage(store, time.time())
    assert orphan in garbage.keys
    collect(store, garbage)
    assert store.info(orphan) is None
    assert list(store.list(keys.OUTPUTS)) == []
    assert plan_garbage(store, time.time()).keys == ()


def test_packages_that_a_killed_deletion_left_are_none_of_the_version_that_comes_back(
    store: Store, out: Path, tmp_path: Path, orphan: str
) -> None:
    days_pass(tmp_path / "store")
    garbage = plan_garbage(store, time.time())
    again = plan(out, store, "v1", packaging=False)
    done = store_parts(again, store)
    assert orphan not in plan_garbage(store, time.time()).keys, "a publish is under way"
    commit(again.versions[0], done, store=store)
    assert store.info(orphan) is None
    packaged = package_version(uri("v1"), store=store)
    collect(store, garbage)
    assert catalog.find(store, uri("v1")).packages == packaged.packages
    assert is_whole(store, uri("v1"))


# -- who did what once for a version ----------------------------------------------------------


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
