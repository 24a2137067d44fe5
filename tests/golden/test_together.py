"""The store whose version has its new files together is read, and written the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.format import keys, parts
from prefect_datasets.core.resolve.resolve import resolve_version
from prefect_datasets.core.store import open_store
from prefect_datasets.core.versions import catalog
from prefect_datasets.core.versions.verify import verify
from tests.core.trees import files_of

from . import make

STORE = Path(__file__).parent / "together"
FILES = {**make.V1_FILES, **make.V2_FILES}


def test_the_same_objects_are_made(tmp_path: Path) -> None:
    make.make_together(tmp_path)
    made, golden = files_of(tmp_path), files_of(STORE)
    assert made.keys() == golden.keys()
    assert len(golden) == len(FILES) + 4
    fixed = [key for key in golden if not key.endswith((".parquet", ".json"))]
    assert {key: made[key] for key in fixed} == {key: golden[key] for key in fixed}


def test_every_file_is_where_its_row_says() -> None:
    store = open_store(str(STORE))
    record = catalog.find(store, make.V3)
    rows = parts.read_stored(store, record.parts[0]).to_pylist()
    together = keys.together_key(record.packages[0].key)
    assert {row["path"] for row in rows if row["package"] == together} == set(make.V2_FILES)
    for row in rows:
        found = store.read_range(row["package"], row["offset"], row["size"])
        assert hashlib.sha256(found).digest() == row["sha256"]


@pytest.mark.parametrize("deep", [False, True])
def test_it_is_whole(deep: bool) -> None:
    assert verify(make.V3, store=open_store(str(STORE)), deep=deep).faults == ()


def test_it_resolves(tmp_path: Path) -> None:
    tree = resolve_version(make.V3, store=open_store(str(STORE)), cache=Cache(tmp_path))
    assert files_of(tree.path) == FILES
