"""How much differs between two versions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.publish.publish import Policy
from prefect_datasets.core.store import open_store
from prefect_datasets.core.versions import changes as engine
from prefect_datasets.core.versions.catalog import find
from prefect_datasets.core.versions.changes import Amount, changes, count, sizes
from tests.core.published import publish, uri, write_files

FILES = st.dictionaries(st.sampled_from("abcdefgh"), st.binary(min_size=0, max_size=3))


def rows(files: dict[str, bytes]) -> pa.Table:
    paths = sorted(files)
    return pa.table(
        {
            "path": pa.array(paths, pa.string()),
            "size": pa.array([len(files[path]) for path in paths], pa.int64()),
            "sha256": pa.array([files[path].ljust(32) for path in paths], pa.binary(32)),
        }
    )


def amount(files: dict[str, bytes], chosen: set[str]) -> Amount:
    return Amount(len(chosen), sum(len(files[path]) for path in chosen))


@given(old=FILES, new=FILES)
def test_each_file_is_counted_once_for_what_became_of_it(
    old: dict[str, bytes], new: dict[str, bytes]
) -> None:
    found = count(rows(old), rows(new))
    both = set(old) & set(new)
    same = {path for path in both if old[path] == new[path]}
    assert found.same == amount(new, same)
    assert found.changed == amount(new, both - same)
    assert found.replaced == amount(old, both - same)
    assert found.added == amount(new, set(new) - both)
    assert found.removed == amount(old, set(old) - both)
    fresh = [content for content in new.values() if content not in old.values()]
    assert found.n_new_bytes == sum(map(len, fresh))


def test_parts_that_are_the_same_are_not_read(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    small = Policy(max_package_bytes=200)
    files = {f"{name}": name.encode() * 100 for name in "abcdefgh"}
    publish(write_files(tmp_path / "one", files), store, "v1", policy=small)
    files["h"] = b"new"
    publish(write_files(tmp_path / "two", files), store, "v2", policy=small)
    old, new = find(store, uri("v1")), find(store, uri("v2"))
    for part in old.parts[:3]:
        store.delete([part.table])
    found = changes(store, old, new)
    assert found is not None
    assert (found.same, found.changed) == (Amount(7, 700), Amount(1, 3))
    assert sorted(sizes(store, new)) == [3, *[100] * 7]


def test_too_many_files_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path / "store"))
    publish(write_files(tmp_path / "one", {"a": b"1"}), store, "v1")
    publish(write_files(tmp_path / "two", {"a": b"2"}), store, "v2")
    old, new = find(store, uri("v1")), find(store, uri("v2"))
    monkeypatch.setattr(engine, "MOST_COMPARED_FILES", 1)
    assert changes(store, old, new) is None
