"""What may be deleted, and what must not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.format import keys, parts
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.publish import journal
from prefect_datasets.core.publish.publish import (
    begin,
    package_version,
    plan_directory,
    publish_directory,
    publish_part,
)
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.uri import DatumUri
from prefect_datasets.core.versions import deletion
from prefect_datasets.core.versions.datums import find_datum
from prefect_datasets.core.versions.garbage import GRACE_SECONDS, collect, plan_garbage
from prefect_datasets.core.versions.verify import verify
from tests.core.published import contents, declare, publish, uri, write_files


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_files(tmp_path / "out", {"a": b"1", "b": b"22"})


def sweep(store: Store) -> tuple[str, ...]:
    """Collect as if it were two days later."""
    garbage = plan_garbage(store, time.time() + 2 * GRACE_SECONDS)
    collect(store, garbage)
    return garbage.keys


def delete(store: Store, record: VersionRecord) -> None:
    deletion.delete(store, deletion.plan_delete(store, record.uri))


def test_what_a_version_uses_stays(store: Store, out: Path) -> None:
    record = publish(out, store, "v1")
    assert sweep(store) == ()
    assert verify(record.uri, store=store, deep=True).faults == ()


def test_a_deleted_version_is_freed(store: Store, out: Path) -> None:
    delete(store, publish(out, store, "v1"))
    assert plan_garbage(store, time.time()).keys == (), "not within the grace period"
    assert sweep(store)
    assert list(store.list("outputs/")) == []


def test_files_that_another_version_inherits_stay(store: Store, out: Path, tmp_path: Path) -> None:
    first = publish(out, store, "v1")
    new = write_files(tmp_path / "new", {"c": b"333"})
    second = publish(new, store, "v2", base=first.uri)
    delete(store, first)
    freed = sweep(store)
    assert any(key.endswith("pets.v1.vhpkgzip") for key in freed)
    assert verify(second.uri, store=store, deep=True).faults == ()


def test_packages_made_afterwards_stay(store: Store, out: Path) -> None:
    publish(out, store, "v1", packaging=False)
    record = package_version(uri("v1"), store=store)
    assert sweep(store) == ()
    assert contents(store, record) == {"a": b"1", "b": b"22"}


def test_outputs_in_no_version_stay(store: Store, out: Path) -> None:
    assert publish_directory(out, store=store) == []
    assert sweep(store) == ()


DAY = 24 * 3600.0


def test_outputs_in_no_version_go_at_an_age_that_is_named(
    store: Store, out: Path, tmp_path: Path
) -> None:
    line = {"file": "a", "metadata": {"valohai.alias": "the-a"}}
    (out / "valohai.metadata.jsonl").write_text(json.dumps(line))
    assert publish_directory(out, store=store) == []
    aliased = find_datum(store, DatumUri("the-a")).stored.key
    record = publish(write_files(tmp_path / "other", {"c": b"3"}), store, "v1")

    def planned(days: float) -> tuple[str, ...]:
        now = time.time() + days * DAY
        return plan_garbage(store, now, loose_seconds=30 * DAY).keys

    assert planned(29) == ()
    assert [key.rpartition("/")[2] for key in planned(31)] == ["b"]
    collect(store, plan_garbage(store, time.time() + 31 * DAY, loose_seconds=30 * DAY))
    assert find_datum(store, DatumUri("the-a")).stored.key == aliased
    assert store.read(aliased) == b"1"
    assert verify(record.uri, store=store, deep=True).faults == ()
    store.delete([keys.datum_alias_key("the-a")])
    collect(store, plan_garbage(store, time.time() + 31 * DAY, loose_seconds=30 * DAY))
    assert {key.split("/")[1] for key in (i.key for i in store.list("outputs/"))} == {
        record.execution
    }


def test_outputs_of_a_live_execution_stay_whatever_the_age(store: Store, out: Path) -> None:
    assert publish_directory(out, store=store) == []
    assert plan_garbage(store, time.time() + 3600, loose_seconds=1).keys == ()


def test_what_a_live_publish_needs_stays(store: Store, out: Path, tmp_path: Path) -> None:
    first = publish(out, store, "v1")
    plan = plan_directory(
        write_files(tmp_path / "new", {"c": b"3"}),
        store=store,
        to=[declare("v2", packaging=True, base=first.uri)],
    )
    begin(plan, store=store)
    delete(store, first)
    garbage = plan_garbage(store, time.time(), grace_seconds=0.0)
    attempt = keys.attempt_key(uri("v2"), plan.execution)
    assert attempt in garbage.keys, "with no grace at all nothing is live"
    garbage = plan_garbage(store, time.time(), grace_seconds=3600)
    collect(store, garbage)
    [version] = plan.versions
    done = [publish_part(part, store=store) for part in version.parts]
    assert done[0].n_files == 3


def test_what_an_abandoned_publish_left_is_freed(store: Store, out: Path) -> None:
    plan = plan_directory(out, store=store, to=[declare("v1", packaging=True)])
    begin(plan, store=store)
    publish_part(plan.versions[0].parts[0], store=store)
    assert sweep(store)
    assert list(store.list("outputs/")) == []
    assert journal.open_attempts(store, uri("v1")) == []


def test_a_file_with_a_datum_alias_stays(store: Store, out: Path) -> None:
    line = {
        "file": "a",
        "metadata": {
            "valohai.alias": "the-a",
            "valohai.dataset-versions": ["dataset://pets/v1"],
        },
    }
    (out / "valohai.metadata.jsonl").write_text(json.dumps(line))
    [record] = publish_directory(out, store=store)
    found = find_datum(store, DatumUri("the-a"))
    assert store.read(found.stored.key) == b"1"
    delete(store, record)
    for _ in range(2):
        sweep(store)
        assert store.read(find_datum(store, DatumUri("the-a")).stored.key) == b"1"


def test_a_file_is_found_by_its_datum(store: Store, out: Path) -> None:
    record = publish(out, store, "v1")
    for row in parts.read_rows(store, record).to_pylist():
        found = find_datum(store, DatumUri(row["datum"]))
        assert (found.path, found.stored.key) == (row["path"], row["url"])
    [package] = record.packages
    assert find_datum(store, DatumUri(package.datum)).stored.key == package.key
    for unknown in ("01a20352-961d-47d1-1ed1-b7e1f3f4a917", "no-such-alias"):
        with pytest.raises(NotFoundError, match=unknown):
            find_datum(store, DatumUri(unknown))
