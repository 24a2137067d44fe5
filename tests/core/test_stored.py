"""Files that went to the store before the rest of their directory was published."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format import parts
from prefect_datasets.core.metadata.scan import scan
from prefect_datasets.core.publish import publish as engine
from prefect_datasets.core.publish.plan_version import PartPlan, as_sources
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog

V1 = DatasetUri("images", "v1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def put(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def send_ahead(folder: Path, store: Store) -> pa.Table:
    """Store the files of a folder one by one; return their rows."""
    part = PartPlan(
        uri=None,
        execution=catalog.new_id(),
        index=0,
        n_parts=1,
        root=str(folder),
        rows=as_sources(scan(folder).listing),
        is_packaged=False,
        individual_files=True,
    )
    return parts.read_part(store, engine.publish_part(part, store=store))


def declare(folder: Path, *files: str) -> None:
    entry: dict[str, Any] = {"valohai.dataset-versions": [{"uri": f"{V1}", "packaging": True}]}
    lines = [json.dumps({"file": file, "metadata": {**entry, "n": 1}}) for file in files]
    (folder / "valohai.metadata.jsonl").write_text("\n".join(lines))


def test_they_join_the_version_and_its_package(tmp_path: Path, store: Store) -> None:
    rows = send_ahead(put(tmp_path / "ahead", {"sub/a": "live", "loose": "alone"}), store)
    out = put(tmp_path / "out", {"b": "at the end"})
    declare(out, "sub/a", "b")
    plan = engine.plan_directory(out, store=store, stored=rows, strict=True)
    (record,) = engine.publish_plan(plan, store=store)
    found = parts.read_rows(store, record).to_pylist()
    expected = [("b", '{"n":1}'), ("sub/a", '{"n":1}')]
    assert [(row["path"], row["metadata"]) for row in found] == expected
    assert found[1]["datum"] in rows["datum"].to_pylist(), "it is not sent again"
    package = zipfile.ZipFile(tmp_path / "store" / record.packages[0].key)
    assert {name: package.read(name) for name in package.namelist()} == {
        "b": b"at the end",
        "sub/a": b"live",
    }
    assert [part.rows["path"].to_pylist() for part in plan.loose] == [["loose"]]


def test_a_file_that_is_there_again_is_the_one_that_counts(tmp_path: Path, store: Store) -> None:
    rows = send_ahead(put(tmp_path / "ahead", {"a": "first"}), store)
    out = put(tmp_path / "out", {"a": "second"})
    declare(out, "a")
    (record,) = engine.publish_plan(
        engine.plan_directory(out, store=store, stored=rows), store=store
    )
    (row,) = parts.read_rows(store, record).to_pylist()
    assert store.read(row["url"]) == b"second"
    assert row["datum"] not in rows["datum"].to_pylist()


def test_one_that_would_be_a_folder_too_is_refused(tmp_path: Path, store: Store) -> None:
    rows = send_ahead(put(tmp_path / "ahead", {"a": "file"}), store)
    out = put(tmp_path / "out", {"a/b": "below it"})
    with pytest.raises(InvalidInputError, match="both a file and a folder"):
        engine.plan_directory(out, store=store, stored=rows)
