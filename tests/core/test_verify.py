"""Looking whether a version is whole, and mending it from the other copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prefect_datasets.core.format import parts
from prefect_datasets.core.format.package import layout
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.publish.publish import Policy
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.versions.verify import verify
from tests.core.published import contents, publish, uri, write_files

FILES = {"a": b"1234", "b/c": b"56", "empty": b"", "large": os.urandom(9 << 20)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def record(store: Store, tmp_path: Path) -> VersionRecord:
    return publish(write_files(tmp_path / "out", FILES), store, "v1")


def flip(store: Store, key: str, at: int) -> None:
    content = bytearray(store.read(key))
    content[at] ^= 1
    store.write(key, bytes(content))


def url_of(store: Store, record: VersionRecord, path: str) -> str:
    rows = parts.read_rows(store, record).to_pylist()
    return next(row["url"] for row in rows if row["path"] == path)


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_version(store: Store, record: VersionRecord, deep: bool) -> None:
    report = verify(record.uri, store=store, deep=deep)
    assert report.is_whole
    assert report.faults == ()
    assert report.n_files == 4
    assert report.n_bytes == (2 * record.n_bytes if deep else 0)


def test_a_single_object_with_other_bytes(store: Store, record: VersionRecord) -> None:
    for path in ("a", "large"):
        key = url_of(store, record, path)
        flip(store, key, 1)
        assert verify(record.uri, store=store).is_whole, "quick looks at sizes only"
        [fault] = verify(record.uri, store=store, deep=True).faults
        assert (fault.key, fault.path) == (key, path)
        assert verify(record.uri, store=store, deep=True, repair=True).repaired == (key,)
        assert store.read(key) == FILES[path]


@pytest.mark.parametrize("quickly", [True, False])
def test_a_single_object_that_is_gone(store: Store, record: VersionRecord, quickly: bool) -> None:
    key = url_of(store, record, "b/c")
    store.delete([key])
    report = verify(record.uri, store=store, deep=not quickly)
    assert [fault.key for fault in report.faults] == [key]
    assert not report.is_whole
    assert verify(record.uri, store=store, deep=not quickly, repair=True).is_whole
    assert verify(record.uri, store=store, deep=True).faults == ()


@pytest.mark.parametrize("where", ["header", "content", "large", "directory"])
def test_every_byte_of_a_package_counts(store: Store, record: VersionRecord, where: str) -> None:
    [package] = record.packages
    rows = parts.read_rows(store, record)
    plan = layout(rows["path"], rows["size"])
    at = {
        "header": int(plan.header_offsets[1]) + 3,
        "content": int(plan.data_offsets[0]),
        "large": int(plan.data_offsets[3]) + (8 << 20) + 5,
        "directory": plan.directory_offset + 20,
    }[where]
    flip(store, package.key, at)
    [fault] = verify(record.uri, store=store, deep=True).faults
    assert fault.key == package.key
    assert verify(record.uri, store=store, deep=True, repair=True).is_whole
    assert contents(store, record) == FILES
    assert verify(record.uri, store=store, deep=True).faults == ()


@pytest.mark.parametrize("deep", [False, True])
def test_a_package_that_is_gone_or_cut(store: Store, record: VersionRecord, deep: bool) -> None:
    [package] = record.packages
    content = store.read(package.key)
    store.write(package.key, content[:100])
    [cut] = verify(record.uri, store=store, deep=deep).faults
    assert "instead of" in cut.problem
    store.delete([package.key])
    [gone] = verify(record.uri, store=store, deep=deep, repair=True).faults
    assert gone.problem == "the package is gone"
    assert store.read(package.key) == content


def test_a_table_that_is_gone_can_not_be_mended(store: Store, record: VersionRecord) -> None:
    store.delete([record.parts[0].table])
    report = verify(record.uri, store=store, deep=True, repair=True)
    assert [fault.key for fault in report.faults] == [record.parts[0].table]
    assert report.repaired == ()
    assert not report.is_whole


def test_packages_alone_have_nothing_to_be_mended_from(store: Store, tmp_path: Path) -> None:
    root = write_files(tmp_path / "out", FILES)
    record = publish(root, store, "v2", policy=Policy(individual_files=False))
    assert verify(uri("v2"), store=store, deep=True).n_bytes == record.n_bytes
    flip(store, record.packages[0].key, 40)
    report = verify(uri("v2"), store=store, deep=True, repair=True)
    assert len(report.faults) == 1
    assert report.repaired == ()


def test_a_version_that_inherits_from_packages_alone(store: Store, tmp_path: Path) -> None:
    root = write_files(tmp_path / "out", FILES)
    publish(root, store, "v2", policy=Policy(individual_files=False))
    new = write_files(tmp_path / "new", {"z": b"1"})
    plain = publish(new, store, "v3", base=uri("v2"), packaging=False)
    assert not plain.is_packaged
    assert verify(uri("v3"), store=store, deep=True).faults == ()
    packaged = publish(new, store, "v4", base=uri("v3"))
    assert contents(store, packaged) == {**FILES, "z": b"1"}
