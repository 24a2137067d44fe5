"""Retention: what stays, what goes, what that frees, and what a kill leaves of it."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.errors import IntegrityError, InvalidInputError, NotFoundError
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.publish.publish import publish_directory
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from prefect_datasets.core.versions.aliases import set_alias
from prefect_datasets.core.versions.garbage import GRACE_SECONDS, collect, plan_garbage
from prefect_datasets.core.versions.recurring import Dated, properties
from prefect_datasets.core.versions.retention import choose, delete_planned, plan_retention
from prefect_datasets.core.versions.verify import verify
from tests.core.published import Policy, publish, uri, write_files

FIRST = datetime(2026, 11, 1, 1, tzinfo=UTC)


def night(number: int) -> Dated:
    due = FIRST + timedelta(days=number)
    return Dated(due, f"{due:%Y-%m-%d}")


# -- deciding --------------------------------------------------------------------------------------

NIGHTS = st.sets(st.integers(0, 60).map(night), min_size=1)


@given(known=NIGHTS, keep=st.integers(1, 40), data=st.data())
def test_the_newest_and_those_with_a_name_stay(
    known: set[Dated], keep: int, data: st.DataObject
) -> None:
    versions = sorted(each.version for each in known)
    named = data.draw(st.dictionaries(st.sampled_from(versions), st.just(["best"]), max_size=5))
    order = data.draw(st.permutations(sorted(known)))
    choice = choose(order, keep=keep, named=named)
    assert {*choice.kept, *choice.doomed} == set(versions)
    assert not set(choice.kept) & set(choice.doomed)
    assert set(choice.kept) == {*versions[-keep:], *named}
    left = [each for each in known if each.version in choice.kept]
    assert choose(left, keep=keep, named=named).doomed == (), "the second time nothing goes"


def test_other_names_stay_and_are_not_counted() -> None:
    known = [night(0), night(1), night(2), Dated(FIRST + timedelta(days=9), "fixed")]
    choice = choose(known, keep=1, named={}, pattern="20??-??-??")
    assert choice.doomed == (night(1).version, night(0).version)
    assert choice.kept == {
        "fixed": "its name is not 20??-??-??",
        night(2).version: "one of the newest 1",
    }


# -- what it frees, on a real store ----------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


class Nights:
    """Nights of a dataset, each made from the one before."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._last: VersionRecord | None = None

    def make(self, number: int, new: dict[str, bytes], **rest: object) -> VersionRecord:
        folder = write_files(self._folder / f"{number}", new)
        base = self._last.uri if self._last else None
        due = night(number)
        self._last = publish(
            folder,
            self._store,
            due.version,
            policy=Policy(max_package_bytes=4000),
            **{"base": base, "properties": properties(due.due), **rest},
        )
        return self._last


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with ten nights.

    The third and the sixth are without changes, the last without packages.
    """
    folder = tmp_path_factory.mktemp("made")
    nights = Nights(open_store(str(folder / "store")), folder / "nights")
    for number in range(9):
        new = {f"n{number}/{name}": bytes([number]) * 1000 for name in "ab"}
        changed = {"0.csv": bytes([number]) * 3000}
        nights.make(number, {} if number in (3, 6) else {**new, **changed})
    nights.make(9, {"z": b"9"}, packaging=False)
    return folder / "store"


@pytest.fixture
def nights(made: Path, store: Store, tmp_path: Path) -> None:
    """Let the test's own store have the ten nights."""
    shutil.copytree(made, tmp_path / "store")


def stored(store: Store) -> int:
    return sum(info.n_bytes for info in store.list("outputs/"))


def sweep(store: Store) -> int:
    """Collect as if it were two days later; return the bytes."""
    garbage = plan_garbage(store, time.time() + 2 * GRACE_SECONDS)
    collect(store, garbage)
    return garbage.n_bytes


@pytest.mark.parametrize("keep", [1, 4])
def test_what_it_says_is_what_it_frees(store: Store, nights: None, keep: int) -> None:
    set_alias(store, uri(night(1).version), "best")
    planned = plan_retention(store, "pets", keep=keep)
    assert len(planned.doomed) == 10 - keep - 1
    before = stored(store)
    assert len([*delete_planned(store, planned)]) == len(planned.doomed)
    assert stored(store) == before, "nothing goes before the grace is over"
    assert plan_garbage(store, time.time()).keys == ()
    freed = sweep(store)
    assert freed == before - stored(store) == planned.n_freed_bytes
    if keep == 1:
        assert freed > 0
    for version in planned.kept:
        assert verify(uri(version), store=store, deep=True).faults == ()
    assert plan_retention(store, "pets", keep=keep).doomed == ()


def test_what_another_dataset_uses_is_not_counted(
    store: Store, nights: None, tmp_path: Path
) -> None:
    declared = VersionDeclaration(
        DatasetUri("copies", "v1"), packaging=True, base=uri(night(0).version)
    )
    empty = write_files(tmp_path / "empty", {})
    [copy] = publish_directory(empty, store=store, to=[declared])
    planned = plan_retention(store, "pets", keep=1)
    [oldest] = [each for each in planned.doomed if each.due == night(0)]
    assert oldest.n_freed_objects < 5
    before = stored(store)
    list(delete_planned(store, planned))
    assert sweep(store) == before - stored(store) == planned.n_freed_bytes
    assert verify(copy.uri, store=store, deep=True).faults == ()


def test_looking_changes_nothing(store: Store, nights: None) -> None:
    before = [(info.key, info.n_bytes) for info in store.list("")]
    assert plan_retention(store, "pets", keep=2).doomed
    assert [(info.key, info.n_bytes) for info in store.list("")] == before


def test_a_version_that_got_a_name_meanwhile_stays(store: Store, nights: None) -> None:
    planned = plan_retention(store, "pets", keep=3)
    set_alias(store, uri(night(2).version), "best")
    gone = {each.record.uri.version for each in delete_planned(store, planned)}
    assert gone == {each.due.version for each in planned.doomed} - {night(2).version}
    assert catalog.find(store, uri("best")).uri == uri(night(2).version)


def test_nothing_goes_once_an_alias_is_damaged(store: Store, nights: None) -> None:
    planned = plan_retention(store, "pets", keep=3)
    store.write(keys.alias_key(uri("good")), b"{")
    with pytest.raises(IntegrityError):
        next(delete_planned(store, planned))
    for each in planned.doomed:
        assert catalog.read_record(store, each.record.uri) is not None


def test_what_latest_names_stays(store: Store, tmp_path: Path) -> None:
    nights = Nights(store, tmp_path / "nights")
    nights.make(5, {"a": b"5"})
    backfilled = nights.make(1, {"a": b"1"})
    assert catalog.find(store, uri("latest")).uri == backfilled.uri
    assert plan_retention(store, "pets", keep=1).kept[night(1).version] == "named by latest"


class KilledError(Exception):
    """The process is gone."""


class Dying:
    """A store on which everything ends at some write or deletion."""

    def __init__(self, store: Store, after: int) -> None:
        self._store, self._left = store, after

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise KilledError

    def write(self, key: str, data: bytes) -> None:
        self._count()
        self._store.write(key, data)

    def delete(self, keys: list[str]) -> None:
        for key in keys:
            self._count()
            self._store.delete([key])


def test_killed_anywhere_it_goes_on(store: Store, nights: None) -> None:
    expected = set(plan_retention(store, "pets", keep=2).kept)
    for n_steps in range(20):
        dying = Dying(store, n_steps % 7)
        try:
            planned = plan_retention(store, "pets", keep=2)
            list(delete_planned(dying, planned))  # type: ignore[arg-type]
            garbage = plan_garbage(store, time.time() + 2 * GRACE_SECONDS)
            collect(dying, garbage)  # type: ignore[arg-type]
        except KilledError:
            for version in expected:
                assert catalog.find(store, uri(version)).uri.version == version
    list(delete_planned(store, plan_retention(store, "pets", keep=2)))
    sweep(store)
    assert sweep(store) == 0
    planned = plan_retention(store, "pets", keep=2)
    assert (set(planned.kept), planned.doomed) == (expected, ())
    for version in expected:
        assert verify(uri(version), store=store, deep=True).faults == ()


def test_bad_input(store: Store, nights: None) -> None:
    with pytest.raises(InvalidInputError, match="0 versions"):
        plan_retention(store, "pets", keep=0)
    with pytest.raises(NotFoundError, match="no version"):
        plan_retention(store, "birds", keep=1)


@pytest.mark.parametrize("key", ["datasets/pets/@best.json", keys.record_key(uri("2026-11-04"))])
def test_nothing_goes_where_something_can_not_be_read(store: Store, nights: None, key: str) -> None:
    store.write(key, b"{")
    with pytest.raises(IntegrityError):
        plan_retention(store, "pets", keep=1)
