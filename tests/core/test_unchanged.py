"""Parts that are the same as the base's are taken as they are: no bytes of files, nor packages."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.format import parts
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.publish.publish import (
    begin,
    package_version,
    plan_directory,
    publish_part,
)
from prefect_datasets.core.publish.publish import commit as commit_version
from prefect_datasets.core.resolve.resolve import resolve_version
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.uri import DatumUri
from prefect_datasets.core.versions import deletion
from prefect_datasets.core.versions.datums import find_datum
from prefect_datasets.core.versions.garbage import GRACE_SECONDS, collect, plan_garbage
from prefect_datasets.core.versions.verify import verify
from tests.core.published import Policy, contents, declare, publish, uri, write_files
from tests.servers.process import Served

FILES = {"cats/1.jpg": b"1" * 1000, "cats/2.jpg": b"2" * 2000, "dogs/1.jpg": b"3" * 3000}
# Each file is a part of its own.
SMALL = Policy(max_package_bytes=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_files(tmp_path / "out", FILES)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return write_files(tmp_path / "empty", {})


def objects(store: Store) -> dict[str, int]:
    """Return what is in the store: key -> size."""
    return {info.key: info.n_bytes for info in store.list("")}


def sweep(store: Store) -> tuple[str, ...]:
    """Collect as if it were two days later."""
    garbage = plan_garbage(store, time.time() + 2 * GRACE_SECONDS)
    collect(store, garbage)
    return garbage.keys


def delete(store: Store, record: VersionRecord) -> None:
    deletion.delete(store, deletion.plan_delete(store, record.uri))


@pytest.mark.parametrize("packaging", [True, False])
@pytest.mark.parametrize("which", ["nothing new", "all files again"])
def test_a_night_without_changes_stores_two_small_objects_on_s3(
    seaweedfs: Served, fresh_prefix: str, out: Path, empty: Path, which: str, packaging: bool
) -> None:
    store = open_store(f"{seaweedfs.url}/{fresh_prefix}", seaweedfs.options)
    first = publish(out, store, "v1", packaging=packaging)
    before = objects(store)
    folder = empty if which == "nothing new" else out
    second = publish(folder, store, "v2", base=first.uri, packaging=packaging)
    written = {key: size for key, size in objects(store).items() if key not in before}
    assert sorted(written) == sorted(
        ["datasets/pets/v2.json", f"outputs/{second.execution}/execution.json"]
    )
    assert sum(written.values()) < 2000
    assert (second.parts, second.digest) == (first.parts, first.digest)
    assert (second.parent, second.execution != first.execution) == (str(first.uri), True)
    assert verify(second.uri, store=store, deep=True).faults == ()


def test_only_the_parts_that_changed_are_stored(store: Store, out: Path, tmp_path: Path) -> None:
    first = publish(out, store, "v1", policy=SMALL)
    new = write_files(tmp_path / "new", {"dogs/1.jpg": b"4" * 3000, "dogs/2.jpg": b"5"})
    second = publish(new, store, "v2", policy=SMALL, base=first.uri)
    assert len(second.parts) == 4
    assert second.parts[:2] == first.parts[:2]
    assert {part.table.split("/")[1] for part in second.parts[2:]} == {second.execution}
    assert contents(store, second) == {**FILES, "dogs/1.jpg": b"4" * 3000, "dogs/2.jpg": b"5"}
    assert verify(second.uri, store=store, deep=True).faults == ()


@pytest.mark.parametrize(
    "change",
    [
        {"cats/1.jpg": b"x" * 1000},  # the same size
        {"cats/1.jpg": b"1" * 999},
        {"cats/0.jpg": b""},
    ],
)
def test_what_differs_is_not_taken_for_the_same(
    store: Store, out: Path, change: dict[str, bytes]
) -> None:
    first = publish(out, store, "v1")
    write_files(out, change)
    second = publish(out, store, "v2", base=first.uri)
    assert second.packages[0].key != first.packages[0].key
    assert contents(store, second) == {**FILES, **change}


def test_other_metadata_needs_a_table_of_its_own(store: Store, out: Path) -> None:
    first = publish(out, store, "v1")
    line = {"file": "cats/1.jpg", "metadata": {"label": "cat"}}
    (out / "valohai.metadata.jsonl").write_text(json.dumps(line))
    second = publish(out, store, "v2", base=first.uri)
    assert second.digest == first.digest
    assert second.parts[0].table != first.parts[0].table


def test_a_version_that_replaces_all_files_sends_only_what_is_new(store: Store, out: Path) -> None:
    first = publish(out, store, "v1", packaging=False)
    (out / "dogs/1.jpg").unlink()
    write_files(out, {"cats/2.jpg": b"new"})
    before = objects(store)
    second = publish(out, store, "v2", packaging=False, base=first.uri, exclude=("**",))
    files = [key for key in objects(store) if key not in before and "/files/" in key]
    assert [key.rpartition("/files/")[2] for key in files] == ["cats/2.jpg"]
    rows = parts.read_rows(store, second)
    assert rows["path"].to_pylist() == ["cats/1.jpg", "cats/2.jpg"]


def test_packages_that_are_newly_asked_for_are_made(store: Store, out: Path, empty: Path) -> None:
    first = publish(out, store, "v1", packaging=False)
    second = publish(empty, store, "v2", base=first.uri, packaging=True)
    assert contents(store, second) == FILES
    third = publish(empty, store, "v3", base=second.uri, packaging=False)
    assert third.packages == ()


def test_packages_made_afterwards_are_taken_too(store: Store, out: Path, empty: Path) -> None:
    publish(out, store, "v1", packaging=False)
    first = package_version(uri("v1"), store=store)
    second = publish(empty, store, "v2", base=first.uri)
    assert second.parts == first.parts
    delete(store, first)
    sweep(store)
    assert contents(store, second) == FILES
    assert verify(second.uri, store=store, deep=True).faults == ()


def test_objects_that_the_base_lacks_are_stored(store: Store, out: Path, empty: Path) -> None:
    alone = Policy(individual_files=False)
    first = publish(out, store, "v1", policy=alone)
    assert publish(out, store, "v2", policy=alone, base=first.uri).parts == first.parts
    assert publish(empty, store, "v3", base=first.uri).parts == first.parts
    own = publish(out, store, "v4", base=first.uri)
    assert parts.read_rows(store, own)["url"].null_count == 0


def test_what_a_child_uses_outlives_its_parent(
    store: Store, out: Path, empty: Path, tmp_path: Path
) -> None:
    first = publish(out, store, "v1")
    second = publish(empty, store, "v2", base=first.uri)
    third = publish(empty, store, "v3", base=second.uri)
    for record in (first, second):
        delete(store, record)
        assert sweep(store) == (() if record is first else (_provenance(second),))
    assert verify(third.uri, store=store, deep=True).faults == ()
    datum = parts.read_rows(store, third)["datum"][0].as_py()
    assert store.read(find_datum(store, DatumUri(datum)).stored.key) == FILES["cats/1.jpg"]
    found = resolve_version(third.uri, store=store, cache=Cache(tmp_path / "cache"))
    files = {str(f.relative_to(found.path)): f.read_bytes() for f in found.path.rglob("*.jpg")}
    assert files == FILES
    delete(store, third)
    assert sweep(store)
    assert list(store.list("outputs/")) == []


def _provenance(record: VersionRecord) -> str:
    return f"outputs/{record.execution}/execution.json"


def test_where_a_version_came_from_is_kept_with_it(store: Store, out: Path, empty: Path) -> None:
    first = publish(out, store, "v1")
    second = publish(empty, store, "v2", base=first.uri)
    assert sweep(store) == ()
    assert json.loads(store.read(_provenance(second)))["versions"] == [str(second.uri)]


def test_what_a_live_publish_takes_from_its_base_stays(
    store: Store, out: Path, empty: Path
) -> None:
    publish(out, store, "v1", packaging=False)
    first = package_version(uri("v1"), store=store)
    declared = declare("v2", packaging=True, base=first.uri)
    [version] = (plan := plan_directory(out, store=store, to=[declared])).versions
    begin(plan, store=store)
    delete(store, first)
    attempt = f"datasets/pets/@attempts/v2/{plan.execution}.json"
    _age(store, except_for=attempt)  # days pass, and the publish lives
    collect(store, plan_garbage(store, time.time()))
    done = [publish_part(part, store=store) for part in version.parts]
    second = commit_version(version, done, store=store)
    assert second.parts == first.parts
    assert verify(second.uri, store=store, deep=True).faults == ()


def _age(store: Store, *, except_for: str) -> None:
    """Let all objects of a local store but one be written three days ago."""
    root = Path(store.url.removeprefix("file://"))
    then = time.time() - 3 * GRACE_SECONDS
    for file in root.rglob("*"):
        if file.is_file() and not str(file).endswith(except_for):
            os.utime(file, (then, then))
