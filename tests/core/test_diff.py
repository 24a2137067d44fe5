"""What differs between two versions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.format.rows import ROWS
from prefect_datasets.core.store import open_store
from prefect_datasets.core.versions.diff import compare, diff
from tests.core.published import publish, uri, write_files

FILES = st.dictionaries(st.sampled_from("abcdefgh"), st.binary(min_size=1, max_size=1))


def rows(files: dict[str, bytes]) -> pa.Table:
    paths = sorted(files)
    columns = {
        "path": paths,
        "size": [1] * len(paths),
        "sha256": [files[path] * 32 for path in paths],
        "crc32": [0] * len(paths),
        "datum": paths,
    }
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(len(paths), f.type)
        for f in ROWS
    ]
    return pa.table(arrays, schema=ROWS)


@given(old=FILES, new=FILES)
def test_applying_a_diff_gives_the_second_version(
    old: dict[str, bytes], new: dict[str, bytes]
) -> None:
    found = compare(rows(old), rows(new))
    made = {path: content for path, content in old.items() if path not in found.removed}
    moved = {after: made.pop(before) for before, after in found.renamed}
    made |= moved
    made |= {path: new[path] for path in (*found.added, *found.changed)}
    assert made == new
    assert found.n_same == sum(old.get(path) == content for path, content in new.items())
    assert found.n_new_bytes == sum(content not in old.values() for content in new.values())


def test_of_two_published_versions(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    root = write_files(tmp_path / "a", {"gone": b"1", "old": b"22", "other": b"x", "same": b"s"})
    publish(root, store, "v1")
    root = write_files(tmp_path / "b", {"new": b"333", "moved": b"22", "other": b"y", "same": b"s"})
    publish(root, store, "v2")
    found = diff(store, uri("v1"), uri("latest"))
    assert found.added == ("new",)
    assert found.removed == ("gone",)
    assert found.changed == ("other",)
    assert found.renamed == (("old", "moved"),)
    assert (found.n_same, found.n_new_bytes) == (1, 4)
