"""A month of a schedule in which runs come late, twice, fail, die and are made up for."""

from __future__ import annotations

from datetime import UTC
from itertools import pairwise
from pathlib import Path

import pytest

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format import parts
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from prefect_datasets.core.versions.records import list_versions
from prefect_datasets.core.versions.recurring import due_of, versions_of
from prefect_datasets.core.versions.verify import verify
from prefect_datasets.examples import month

NAMES = [f"2026-03-{number:02}" for number in range(1, 32)]
# A record, its execution's and an alias: nothing else is written where nothing is new.
SMALL_BYTES = 6_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("month")


@pytest.mark.slow
def test_exactly_the_versions_that_were_due_are_there(folder: Path) -> None:
    passed = month.simulate(folder)
    print(month.table(passed))
    nights = {night.due.strftime("%Y-%m-%d"): night for night in passed.nights}
    made = {name: night.made for name, night in nights.items()}
    assert list(nights) == NAMES, "the schedule has one run in each night, the 29th too"
    assert {version and version.uri for version in made.values()} == {
        f"dataset://sensor-data/{name}" for name in NAMES
    }

    # Each is made from the newest that was there of those that were due before it.
    missing = {"2026-03-06": "04", "2026-03-13": "11", "2026-03-17": "15", "2026-03-25": "23"}
    for before, name in pairwise(NAMES):
        version = made[name]
        expected = f"2026-03-{missing[name]}" if name in missing else before
        assert version is not None
        assert version.parent == f"dataset://sensor-data/{expected}"

    # The alias went on, and never back.
    assert passed.aliases == sorted(passed.aliases)
    in_time = [
        (NAMES[number - 1], alias)
        for (number, what), alias in zip(month.happenings(), passed.aliases, strict=True)
        if what in (month.IN_TIME, month.QUIET)
    ]
    assert all(name == alias for name, alias in in_time)

    # A night without changes writes no file, package or table.
    for name in ("2026-03-20", "2026-03-21"):
        assert nights[name].n_bytes < SMALL_BYTES
    # No night writes more than its file, the package of the last part and small objects.
    limit = month.PACKAGE_BYTES + month.FILE_BYTES + SMALL_BYTES + 2_000
    assert max(night.n_bytes for night in nights.values()) < limit

    would_go, went = passed.would_go, passed.went
    assert set(went.kept) == set(NAMES[-7:]) | {"2026-03-24"}, "latest is the one made up for"
    assert (would_go.deleted, would_go.n_bytes) == (went.deleted, went.n_bytes)
    assert (would_go.is_done, went.is_done) == (False, True)


@pytest.mark.slow
def test_what_is_left_is_whole(folder: Path) -> None:
    store = DatasetStore(url=str(folder / "store")).open()
    records = list_versions(store, "sensor-data").records
    assert len(records) == 8
    for record in records:
        assert verify(record.uri, store=store, deep=True).faults == ()
    assert catalog.find(store, DatasetUri("sensor-data", "nightly")).uri.version == NAMES[-1]
    newest = parts.read_rows(store, catalog.find(store, DatasetUri("sensor-data", NAMES[-1])))
    late = {f"{name}.csv" for name in ("2026-03-05", "2026-03-12", "2026-03-16", "2026-03-24")}
    quiet = {"2026-03-20.csv", "2026-03-21.csv"}
    assert set(newest["path"].to_pylist()) == {f"{name}.csv" for name in NAMES} - late - quiet
    assert [each.version for each in versions_of(store, "sensor-data")] == NAMES[-8:]
    assert {due_of(record).astimezone(UTC).hour for record in records} == {0, 1}
