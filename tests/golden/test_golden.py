"""Every store of every format that was ever released is read, and today's is written the same.

A store that can't be read any more is a broken promise: change the reader, never these files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefect_datasets.core.format import keys, zip_reader
from prefect_datasets.core.format.record import AliasRecord, PackagesRecord, VersionRecord
from prefect_datasets.core.format.rows import FilesDigest, files_digest
from prefect_datasets.core.format.tables import read_table
from prefect_datasets.core.uri import DatasetUri

from . import make

V1 = Path(__file__).parent / "v1"
KEYS = sorted(str(file.relative_to(V1)) for file in V1.rglob("*") if file.is_file())
VERSIONS = [make.V1, make.V2]


def _record(uri: DatasetUri) -> VersionRecord:
    key = keys.record_key(uri)
    return VersionRecord.from_json((V1 / key).read_bytes(), key=key)


def _rows(uri: DatasetUri) -> pa.Table:
    tables = ((part, V1 / part.table) for part in _record(uri).parts)
    return pa.concat_tables(read_table(file.read_bytes(), key=part.table) for part, file in tables)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same store, made by today's code."""
    root = tmp_path_factory.mktemp("store")
    make.make(root)
    return root


def test_the_same_objects_are_made(made: Path) -> None:
    found = sorted(str(file.relative_to(made)) for file in made.rglob("*") if file.is_file())
    assert found == KEYS
    assert len(KEYS) > 15


@pytest.mark.parametrize("key", [key for key in KEYS if not key.endswith((".json", ".parquet"))])
def test_packages_and_files_are_the_very_same(key: str, made: Path) -> None:
    assert (made / key).read_bytes() == (V1 / key).read_bytes()


@pytest.mark.parametrize("key", [key for key in KEYS if key.endswith(".parquet")])
def test_tables_hold_the_same(key: str, made: Path) -> None:
    ours, theirs = (made / key).read_bytes(), (V1 / key).read_bytes()
    assert read_table(ours, key=key).equals(read_table(theirs, key=key))
    with pq.ParquetFile(pa.BufferReader(theirs)) as file:
        same_release = file.metadata.created_by.endswith(f" {pa.__version__}")
    assert not same_release or ours == theirs


@pytest.mark.parametrize("key", [key for key in KEYS if key.endswith(".json")])
def test_records_are_written_as_they_were(key: str) -> None:
    kind: Any = VersionRecord
    if "/@packages/" in key:
        kind = PackagesRecord
    elif "/@deleted/" not in key and "/@" in key:
        kind = AliasRecord
    data = (V1 / key).read_bytes()
    assert kind.from_json(data, key=key).to_json() == data


@pytest.mark.parametrize("uri", VERSIONS, ids=str)
def test_a_record_describes_its_tables(uri: DatasetUri) -> None:
    record, digest = _record(uri), FilesDigest()
    for part in record.parts:
        data = (V1 / part.table).read_bytes()
        rows = read_table(data, key=part.table)
        digest.update(rows)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (
            part.table_bytes,
            part.table_sha256,
        )
        assert (rows.num_rows, sum(rows["size"].to_pylist())) == (part.n_files, part.n_bytes)
        assert (rows["path"][0].as_py(), rows["path"][-1].as_py()) == (part.first, part.last)
        assert files_digest([rows]) == part.digest
    assert digest.hexdigest() == record.digest


@pytest.mark.parametrize("uri", VERSIONS, ids=str)
def test_every_file_is_where_its_row_says(uri: DatasetUri) -> None:
    for row in _rows(uri).to_pylist():
        data = (V1 / row["url"]).read_bytes()
        assert len(data) == row["size"]
        assert hashlib.sha256(data).digest() == row["sha256"]
        if row["package"]:
            package = (V1 / row["package"]).read_bytes()
            assert package[row["offset"] :][: row["size"]] == data


def test_packages_made_later_hold_the_versions_files() -> None:
    key = keys.packages_key(make.V2)
    later = PackagesRecord.from_json((V1 / key).read_bytes(), key=key)
    record = _record(make.V2)
    assert later.digest == record.digest
    found: dict[str, bytes] = {}
    for package, part in zip(later.packages, record.parts, strict=True):
        data = (V1 / package.key).read_bytes()
        members = zip_reader.read_members(
            lambda start, length, data=data: data[start : start + length],
            len(data),
            key=package.key,
        )
        assert len(data) == package.n_bytes
        assert len(members) == part.n_files
        with zipfile.ZipFile(V1 / package.key) as reader:
            found |= {name: reader.read(name) for name in reader.namelist()}
    assert {p: hashlib.sha256(d).digest() for p, d in found.items()} == {
        row["path"]: row["sha256"] for row in _rows(make.V2).to_pylist()
    }


def test_the_golden_record_uses_every_key() -> None:
    """A key that stands empty everywhere would be read untested."""
    records = [_record(uri) for uri in VERSIONS]
    for field in dataclasses.fields(VersionRecord):
        assert any(getattr(record, field.name) for record in records)
