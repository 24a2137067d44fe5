"""Stored files are found by their ids, many at once at the price of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.format.rows import datum_id
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.uri import DatumUri
from prefect_datasets.core.versions.datums import find_data, find_datum
from tests.core.published import publish, write_files


class ReadsCounted:
    """A store that counts the objects that are read whole."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.n_reads = 0

    def read(self, key: str) -> bytes:
        self.n_reads += 1
        return self._store.read(key)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def test_files_come_in_the_order_they_are_asked_for(tmp_path: Path, store: Store) -> None:
    files = {f"{name}.txt": name.encode() for name in ("a", "b", "c")}
    first = publish(write_files(tmp_path / "one", files), store, "v1")
    second = publish(write_files(tmp_path / "two", {"d.txt": b"d"}), store, "v2")
    asked = [
        datum_id(second.execution, "d.txt"),
        datum_id(first.execution, "c.txt"),
        first.packages[0].datum,
        datum_id(first.execution, "a.txt").upper(),
        datum_id(first.execution, "c.txt"),
    ]
    found = find_data(store, [DatumUri(each) for each in asked])
    package = first.packages[0].key.rpartition("/")[2]
    assert [file.path for file in found] == ["d.txt", "c.txt", package, "a.txt", "c.txt"]
    assert bytes(store.read_range(*found[1].stored)) == b"c"


def test_a_table_is_read_once_for_all_its_files(tmp_path: Path, store: Store) -> None:
    files = {f"{number}.txt": b"x" for number in range(50)}
    record = publish(write_files(tmp_path / "one", files), store, "v1")
    counted = ReadsCounted(store)
    uris = [DatumUri(datum_id(record.execution, path)) for path in files]
    assert len(find_data(counted, uris)) == 50  # type: ignore[arg-type]
    assert counted.n_reads == 1


def test_one_that_is_not_there_is_named(tmp_path: Path, store: Store) -> None:
    record = publish(write_files(tmp_path / "one", {"a.txt": b"a"}), store, "v1")
    there, gone = datum_id(record.execution, "a.txt"), datum_id(record.execution, "z.txt")
    with pytest.raises(NotFoundError, match=gone):
        find_data(store, [DatumUri(there), DatumUri(gone)])
    assert find_datum(store, DatumUri(there)).path == "a.txt"
    assert find_data(store, []) == []
