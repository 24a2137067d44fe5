"""Packages that are made for a version while it is deleted, or that a killed deletion left."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest

from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import PackagesRecord, VersionRecord
from prefect_datasets.core.publish.publish import commit, package_version
from prefect_datasets.core.store import ObjectInfo, Store, open_store
from prefect_datasets.core.store.local import LocalStore
from prefect_datasets.core.versions import catalog, deletion
from prefect_datasets.core.versions.garbage import collect, plan_garbage
from prefect_datasets.core.versions.records import read_packages
from tests.core.collected import FILES, days_pass, is_whole, plan, store_parts
from tests.core.published import Policy, publish, uri, write_files


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_files(tmp_path / "out", FILES)


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
