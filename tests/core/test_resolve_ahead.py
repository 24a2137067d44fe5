"""What a resolve begins early: a table and the engine, side by side."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache, Selection
from prefect_datasets.core.errors import StoreError
from prefect_datasets.core.resolve.ahead import FirstTable
from prefect_datasets.core.resolve.resolve import resolve_version
from tests.core.published import publish, uri, write_files
from tests.core.trees import CountingStore, files_of


class TableStore(CountingStore):
    """Counts how often tables are read whole; the first such reads can be made to fail or lie."""

    def __init__(self, root: Path, log: Path) -> None:
        super().__init__(root, log)
        self.tables: list[str] = []
        self.answers: list[bytes | Exception] = []

    def read(self, key: str) -> bytes:
        if not key.endswith(".parquet"):
            return super().read(key)
        self.tables.append(key)
        match self.answers.pop(0) if self.answers else super().read(key):
            case Exception() as error:
                raise error
            case data:
                return data


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    (tmp_path / "store").mkdir()
    return TableStore(tmp_path / "store", tmp_path / "reads")


@pytest.fixture
def files(tmp_path: Path, store: TableStore) -> dict[str, bytes]:
    files = {f"f{number}": os.urandom(100) for number in range(20)}
    publish(write_files(tmp_path / "out", files), store, "v1")
    store.tables.clear()
    return files


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_the_table_is_read_once(store: TableStore, cache: Cache, files: dict[str, bytes]) -> None:
    assert files_of(resolve_version(uri("v1"), store=store, cache=cache).path) == files
    assert len(store.tables) == 1


@pytest.mark.parametrize("answer", [StoreError("busy"), b"", b"another table"])
def test_a_table_that_came_wrong_is_read_again(
    store: TableStore, cache: Cache, files: dict[str, bytes], answer: bytes | Exception
) -> None:
    store.answers = [answer]
    assert files_of(resolve_version(uri("v1"), store=store, cache=cache).path) == files
    assert len(store.tables) == 2


def test_a_table_that_is_here_is_not_fetched(
    store: TableStore, cache: Cache, files: dict[str, bytes]
) -> None:
    resolve_version(uri("v1"), store=store, cache=cache)
    store.tables.clear()
    some = Selection(include=("f1*",))
    tree = resolve_version(uri("v1"), store=store, cache=cache, selection=some)
    assert {*files_of(tree.path)} == {name for name in files if name.startswith("f1")}
    assert store.tables == []


def test_a_table_is_handed_over_once(store: TableStore) -> None:
    store.write("t.parquet", b"table")
    with FirstTable(store, "t.parquet") as first:
        assert first.take("other.parquet") is None
        assert first.take("t.parquet") == b"table"
        assert first.take("t.parquet") is None


def test_a_warm_resolve_by_alias_loads_no_arrow(
    store: TableStore, cache: Cache, files: dict[str, bytes]
) -> None:
    resolve_version(uri("v1"), store=store, cache=cache)
    program = f"""
import sys
from pathlib import Path
from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.resolve.resolve import resolve_version
from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri
uri = DatasetUri({uri("v1").dataset!r}, "latest")
cache = Cache(Path({str(cache.root)!r}))
tree = resolve_version(uri, store=open_store({store.bucket!r}), cache=cache)
assert tree.is_warm
assert not {{"pyarrow", "numpy"}} & {{*sys.modules}}
"""
    subprocess.run([sys.executable, "-c", program], check=True)
