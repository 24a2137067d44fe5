"""A collection while others publish, and one that is killed; what is committed is whole."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from prefect_datasets.core.errors import ConflictError
from prefect_datasets.core.format.record import Part
from prefect_datasets.core.publish import journal
from prefect_datasets.core.publish.plan import Plan
from prefect_datasets.core.publish.publish import (
    begin,
    commit,
    package_version,
    plan_directory,
    publish_part,
)
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.store.local import LocalStore
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog, deletion
from prefect_datasets.core.versions.garbage import collect, plan_garbage
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
    for n_deleted in (0, 1, 2):
        root = tmp_path / str(n_deleted)
        store = open_store(str(root))
        publish(out, store, "v1", packaging=False, policy=Policy(max_package_bytes=1))
        package_version(uri("v1"), store=store)
        mortal = Mortal(root, n_deleted)
        try:
            deletion.delete(mortal, deletion.plan_delete(mortal, uri("v1")))
        except Killed:
            assert n_deleted < 2
        publish(out, store, "v1", packaging=False)
        assert catalog.find(store, uri("v1")).n_files == len(FILES)
        assert is_whole(store, uri("v1"))
