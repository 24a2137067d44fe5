"""Versions that a schedule makes, whatever the order in which runs come, race and die."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.errors import IntegrityError, InvalidInputError
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import AliasRecord, VersionRecord
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.versions import catalog, deletion
from prefect_datasets.core.versions.aliases import read_alias, set_alias
from prefect_datasets.core.versions.recurring import (
    Dated,
    alias_target,
    base_of,
    due_of,
    look,
    overtaken,
    properties,
    settle_alias,
    versions_of,
)
from tests.core.published import publish, uri, write_files

FIRST = datetime(2026, 11, 1, 1, tzinfo=UTC)


def night(number: int) -> Dated:
    due = FIRST + timedelta(days=number)
    return Dated(due, f"{due:%Y-%m-%d}")


# -- deciding: a world of dictionaries, in which runs take their steps in any order ---------------


@dataclass
class World:
    """What is in the store: versions with their bases, and one alias."""

    bases: dict[Dated, Dated | None] = field(default_factory=dict[Dated, Dated | None])
    alias: Dated | None = None
    history: list[Dated] = field(default_factory=list[Dated])

    def point(self, target: Dated) -> None:
        self.alias = target
        self.history.append(target)

    def run(self, own: Dated) -> Generator[None]:
        """One run; where it yields it may be killed, and other runs may take their steps."""
        base = base_of(self.bases, own.due)
        yield
        self.bases.setdefault(own, base)  # created once: a second is refused by the store
        yield
        known = list(self.bases)
        target = alias_target(own, known, self.alias)
        yield
        while target is not None:
            self.point(target)
            yield
            target = overtaken(target, known, list(self.bases))


def finish(steps: Iterable[None]) -> None:
    for _ in steps:
        pass


NIGHTS = st.integers(0, 9).map(night)


@given(runs=st.lists(st.tuples(NIGHTS, st.integers(0, 5)), max_size=25), last=NIGHTS)
def test_runs_that_come_in_any_order_and_die_anywhere(
    runs: list[tuple[Dated, int]], last: Dated
) -> None:
    world = World()
    for own, n_steps in runs:
        before = dict(world.bases)
        for _, _ in zip(range(n_steps), world.run(own), strict=False):
            pass
        if own in world.bases and own not in before:
            earlier = [each for each in before if each.due < own.due]
            assert world.bases[own] == max(earlier, default=None)
        assert before.items() <= world.bases.items(), "what is there stays as it is"
    assert set(world.bases) <= {own for own, _ in runs}
    finish(world.run(last))
    assert last in world.bases
    assert world.history == sorted(world.history), "the alias never goes back"
    if last == max(world.bases):
        assert world.alias == last, "whatever died before, the newest night puts it right"


@given(due=st.lists(NIGHTS, min_size=1, max_size=12), rng=st.randoms(use_true_random=False))
def test_runs_at_the_same_time_leave_the_alias_at_the_newest(due: list[Dated], rng: object) -> None:
    world = World()
    live = [world.run(own) for own in due]
    while live:
        run = rng.choice(live)  # type: ignore[attr-defined] - hypothesis gives a Random
        if next(run, "ended") == "ended":
            live.remove(run)
    assert set(world.bases) == set(due)
    assert world.alias == max(due)
    for own, base in world.bases.items():
        assert base is None or base.due < own.due


def test_an_older_version_that_somebody_pointed_an_alias_at_is_left_alone() -> None:
    known = [night(1), night(2), night(3), night(5)]
    assert alias_target(night(3), known, night(2)) is None, "night 5 is there"
    assert alias_target(night(6), known, night(2)) == night(6)
    assert alias_target(night(3), known, None) == night(5)


# -- acting ----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_files(tmp_path / "out", {"a": b"1", "b": b"22"})


def make(store: Store, out: Path, due: Dated) -> VersionRecord:
    """Make the version of a night as its run does."""
    turn = look(store, uri(due.version), due.due)
    assert not turn.is_done
    return publish(out, store, due.version, base=turn.base, properties=properties(due.due))


def test_a_night_is_made_from_the_one_due_before_it(store: Store, out: Path) -> None:
    for number in (1, 2, 5):
        make(store, out, night(number))
    late = look(store, uri(night(4).version), night(4).due)
    assert (late.base, late.n_later, late.is_done) == (uri(night(2).version), 1, False)
    first = look(store, uri(night(0).version), night(0).due)
    assert (first.base, first.n_later) == (None, 3)


def test_a_night_that_was_made_or_deleted_is_done(store: Store, out: Path) -> None:
    record = make(store, out, night(1))
    again = look(store, record.uri, night(1).due)
    assert (again.existing, again.is_done) == (record, True)
    deletion.delete(store, deletion.plan_delete(store, record.uri))
    gone = look(store, record.uri, night(1).due)
    assert (gone.existing, gone.is_deleted, gone.is_done) == (None, True, True)


def test_a_version_made_by_hand_is_due_when_it_was_committed(store: Store, out: Path) -> None:
    byhand = publish(out, store, "fixed")
    assert due_of(byhand).isoformat() == byhand.created
    make(store, out, night(1))
    assert [each.version for each in versions_of(store, "pets")] == [night(1).version, "fixed"]


def test_a_time_that_can_not_be_read_names_the_record(store: Store, out: Path) -> None:
    publish(out, store, "v1", properties={"prefect-datasets.scheduled": "tomorrow"})
    with pytest.raises(IntegrityError, match=r"datasets/pets/v1\.json"):
        versions_of(store, "pets")


def settle(store: Store, record: VersionRecord, *, is_new: bool = True) -> str | None:
    settle_alias(store, record, "nightly", is_new=is_new)
    return read_alias(store, uri("nightly"))


def test_the_alias_never_goes_back_to_an_older_night(store: Store, out: Path) -> None:
    assert settle(store, make(store, out, night(2))) == night(2).version
    assert settle(store, make(store, out, night(5))) == night(5).version
    late = make(store, out, night(3))
    assert settle_alias(store, late, "nightly", is_new=True) is None
    assert read_alias(store, uri("nightly")) == night(5).version


def test_a_run_that_died_before_it_moved_the_alias(store: Store, out: Path) -> None:
    settle(store, make(store, out, night(1)))
    made = make(store, out, night(2))  # killed here; the run is tried again
    assert settle(store, made, is_new=False) == night(2).version


def test_what_a_person_did_to_the_alias_is_not_undone_by_a_doubled_run(
    store: Store, out: Path
) -> None:
    good = make(store, out, night(1))
    bad = make(store, out, night(2))
    settle(store, bad)
    set_alias(store, good.uri, "nightly")
    assert settle(store, bad, is_new=False) == night(1).version
    assert settle(store, make(store, out, night(3))) == night(3).version


def test_an_alias_of_a_deleted_version_is_pointed_at_the_newest(store: Store, out: Path) -> None:
    first = make(store, out, night(1))
    settle(store, first)
    second = make(store, out, night(2))
    deletion.delete(store, deletion.plan_delete(store, first.uri))
    assert settle(store, second) == night(2).version


def test_an_alias_can_not_have_a_versions_name(store: Store, out: Path) -> None:
    record = make(store, out, night(1))
    with pytest.raises(InvalidInputError, match="is a version"):
        settle_alias(store, record, night(1).version, is_new=True)


class Racing:
    """A store in which another run commits a night while this one moves the alias."""

    def __init__(self, store: Store, out: Path, other: Dated) -> None:
        self._store, self._out, self._other = store, out, other

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def write(self, key: str, data: bytes) -> None:
        if (
            key == keys.alias_key(uri("nightly"))
            and not look(self._store, uri(self._other.version), self._other.due).is_done
        ):
            settle(self._store, make(self._store, self._out, self._other))
        self._store.write(key, data)


def test_a_newer_night_that_is_committed_meanwhile_keeps_the_alias(store: Store, out: Path) -> None:
    record = make(store, out, night(3))
    racing = Racing(store, out, night(4))
    moved = settle_alias(racing, record, "nightly", is_new=True)  # type: ignore[arg-type]
    assert moved is not None
    assert moved.version == uri(night(4).version)
    assert read_alias(store, uri("nightly")) == night(4).version


def test_the_alias_is_a_plain_one(store: Store, out: Path) -> None:
    record = make(store, out, night(1))
    settle(store, record)
    assert catalog.find(store, uri("nightly")) == record
    key = keys.alias_key(uri("nightly"))
    assert AliasRecord.from_json(store.read(key), key=key).target == night(1).version
