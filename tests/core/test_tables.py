"""Tables come back as they were written, other readers open them, and damaged ones are refused."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd  # pyright: ignore[reportMissingTypeStubs]  (its stubs are a package)
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datasets.core.errors import IntegrityError, UnsupportedFormatError
from prefect_datasets.core.format import package, tables
from prefect_datasets.core.format.rows import ROWS, datum_ids

from . import zips

if TYPE_CHECKING:
    from pathlib import Path

KEY = "outputs/x/tables/d/v/0.parquet"
EXECUTION = "0197b2f0-7a51-7c52-9c1c-3f1a5d2e8b10"
PACKAGE = f"outputs/{EXECUTION}/packages/d/v/d.v.vhpkgzip"


def rows_of(paths: list[str], *, seed: int = 1, metadata: str | None = None) -> pa.Table:
    """Make the rows of a packaged version whose files are about 10 KB."""
    n_files, rng = len(paths), np.random.default_rng(seed)
    names, sizes = pa.array(paths, pa.string()), rng.integers(0, 20_000, n_files)
    return pa.table(
        {
            "path": names,
            "size": pa.array(sizes),
            "sha256": pa.array([rng.bytes(32) for _ in paths], pa.binary(32)),
            "crc32": pa.array(rng.integers(0, 1 << 32, n_files, dtype=np.uint32)),
            "datum": pa.array(datum_ids(EXECUTION, paths), pa.string()),
            "url": pa.array([f"outputs/{EXECUTION}/files/{path}" for path in paths], pa.string()),
            "package": pa.array([PACKAGE] * n_files, pa.string()),
            "offset": pa.array(package.layout(names, sizes).data_offsets),
            "metadata": pa.array([metadata] * n_files, pa.string()),
        },
        schema=ROWS,
    )


def replaced(rows: pa.Table, column: str, values: list[Any]) -> pa.Table:
    """Replace a column; its values may be null where the schema says they may not."""
    index = rows.schema.get_field_index(column)
    return rows.set_column(
        index, rows.schema.field(column), pa.array(values, ROWS.field(column).type)
    )


@given(files=zips.files(), chosen=st.sets(st.sampled_from(ROWS.names)))
def test_rows_come_back(files: zips.Files, chosen: set[str]) -> None:
    rows = rows_of(list(files), metadata='{"label": "cat"}')
    data = tables.write_table(rows)
    assert tables.read_table(data, key=KEY).equals(rows, check_metadata=True)
    columns = sorted(chosen)
    assert tables.read_table(data, key=KEY, columns=columns).equals(rows.select(columns))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, pa.py_buffer])
def test_any_buffer_is_read(kind: Any) -> None:
    rows = rows_of(["a"])
    assert tables.read_table(kind(tables.write_table(rows).to_pybytes()), key=KEY).equals(rows)


def test_the_same_rows_give_the_same_bytes_however_they_are_cut() -> None:
    rows = rows_of([f"{n:06d}" for n in range(70_000)])
    cut = pa.concat_tables([rows.slice(0, 12_345), rows.slice(12_345, 0), rows.slice(12_345)])
    again = tables.read_table(tables.write_table(cut), key=KEY)
    assert tables.write_table(rows).equals(tables.write_table(cut))
    assert tables.write_table(rows).equals(tables.write_table(again))


def test_row_groups_let_a_reader_skip() -> None:
    rows = rows_of([f"{n:06d}" for n in range(70_000)])
    file = pq.ParquetFile(pa.BufferReader(tables.write_table(rows)), pre_buffer=False)
    assert [file.metadata.row_group(n).num_rows for n in range(3)] == [32_768, 32_768, 4_464]
    bounds = [file.metadata.row_group(n).column(0).statistics for n in range(3)]
    assert [(found.min, found.max) for found in bounds] == [
        ("000000", "032767"),
        ("032768", "065535"),
        ("065536", "069999"),
    ]


@pytest.mark.parametrize(
    ("kind", "most_bytes"), [("counted", 50), ("imagenet", 61), ("random", 71)]
)
def test_a_row_costs_little_more_than_its_digests(kind: str, most_bytes: int) -> None:
    n_files, rng = 100_000, random.Random(1)
    of_kind = {
        "counted": lambda n: f"class-{n // 1000:04d}/image-{n:07d}.jpg",
        "imagenet": lambda n: (
            f"train/n{n // 1300:08d}/n{n // 1300:08d}_{rng.randrange(1 << 15)}-{n}.JPEG"
        ),
        "random": lambda _: f"images/{rng.randbytes(1).hex()}/{rng.randbytes(8).hex()}.jpg",
    }[kind]
    rows = rows_of(sorted(of_kind(n) for n in range(n_files)))
    assert tables.write_table(rows).size / n_files < most_bytes


def test_a_million_rows_are_checked_in_a_moment() -> None:
    paths = pa.array([f"class-{n // 1000:04d}/image-{n:07d}.jpg" for n in range(1_000_000)])
    begin = time.process_time()
    assert tables.path_faults(paths) == []
    assert time.process_time() - begin < 1.5  # 0.3 s on an idle machine


def test_pandas_and_duckdb_open_a_table(tmp_path: Path) -> None:
    rows = rows_of(sorted(zips.ODD_FILES, key=str.encode), metadata='{"label": "cat"}')
    file = tmp_path / "0.parquet"
    file.write_bytes(tables.write_table(rows))
    frame: Any = pd.read_parquet(file)
    assert frame["path"].tolist() == rows["path"].to_pylist()
    assert frame["sha256"].tolist() == rows["sha256"].to_pylist()
    query = (
        f"select path, size, sha256, crc32, datum, url, package, \"offset\", metadata from '{file}'"
    )
    found = [tuple(row.values()) for row in rows.to_pylist()]
    with duckdb.connect() as database:
        assert database.execute(query).fetchall() == found


def test_a_table_without_files() -> None:
    data = tables.write_table(ROWS.empty_table())
    assert tables.read_table(data, key=KEY).equals(ROWS.empty_table())
    assert data.size < 1000


def _written(rows: pa.Table) -> bytes:
    """Write rows that may be faulty, past the checks of the schema."""
    loose = pa.schema([field.with_nullable(True) for field in rows.schema])
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, loose, store_schema=False) as writer:
        writer.write_table(rows.cast(loose))
        writer.add_key_value_metadata({tables.FORMAT_KEY: b"1"})
    return sink.getvalue().to_pybytes()


GOOD = rows_of(["a", "b"])
FAULTS = [
    ("size", [-1, 5], "size has negative values"),
    ("offset", [-1, 5], "offset has negative values"),
    ("offset", [1, None], "package and offset do not come together"),
    ("path", ["b", "a"], "out of order or twice: 'a'"),
    ("path", ["a", "a"], "out of order or twice: 'a'"),
    ("path", ["a", "a/b"], "both a file and a folder: 'a'"),
    ("path", ["../a", "b"], "not a relative path: '../a'"),
]


@pytest.mark.parametrize(("column", "values", "reason"), FAULTS)
def test_rows_that_can_not_be_are_refused(column: str, values: list[Any], reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason) as caught:
        tables.read_table(tables.write_table(replaced(GOOD, column, values)), key=KEY)
    assert caught.value.subject == KEY


def test_a_file_that_lies_nowhere_is_refused() -> None:
    rows = GOOD
    for column in ("url", "package", "offset"):
        rows = replaced(rows, column, [None, None])
    with pytest.raises(IntegrityError, match="neither url nor package"):
        tables.read_table(tables.write_table(rows), key=KEY)


def test_faults_of_many_files_are_counted_not_listed() -> None:
    faults = tables.path_faults(pa.array([f"../{n:03d}" for n in range(500)]))
    assert faults[-1] == "not a relative path: 500 in all"
    assert len(faults) == 6


def test_tables_with_other_columns_are_refused() -> None:
    others = [
        GOOD.drop_columns(["metadata"]),
        GOOD.append_column("more", pa.array([1, 2])),
        GOOD.set_column(3, "crc32", pa.array([1, 2], pa.int64())),
        GOOD,  # written with every column nullable
    ]
    for rows in others:
        with pytest.raises(IntegrityError, match="it has other columns"):
            tables.read_table(_written(rows), key=KEY)


def _with_format(value: bytes | None) -> bytes:
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, ROWS, store_schema=False) as writer:
        writer.write_table(GOOD)
        if value is not None:
            writer.add_key_value_metadata({tables.FORMAT_KEY: value})
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("found", [b"2", b"10"])
def test_a_newer_format_is_refused(found: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match="Upgrade prefect-datasets") as caught:
        tables.read_table(_with_format(found), key=KEY)
    assert found.decode() in caught.value.message


@pytest.mark.parametrize("found", [None, b"", b"x", b"-1", b"1.5", b"\xff"])
def test_other_parquet_is_no_table(found: bytes | None) -> None:
    with pytest.raises(IntegrityError, match=r"it lacks prefect-datasets\.format"):
        tables.read_table(_with_format(found), key=KEY)


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1PAR1", b"hello" * 100, zips.build({"a": b""})]
)
def test_other_bytes_are_no_table(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="Not a table"):
        tables.read_table(data, key=KEY)


def test_a_cut_table_is_refused() -> None:
    data = tables.write_table(GOOD).to_pybytes()
    for end in range(0, len(data), 50):
        with pytest.raises(IntegrityError):
            tables.read_table(data[:end], key=KEY)


_SEED = tables.write_table(rows_of([f"{n:04d}" for n in range(300)])).to_pybytes()


@given(
    ends=st.lists(st.integers(1, 3000) | st.integers(1, len(_SEED)), min_size=1, max_size=4),
    value=st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]),
)
@settings(max_examples=500)
def test_a_mutated_table_is_read_or_refused(ends: list[int], value: int) -> None:
    data = bytearray(_SEED)
    for end in ends:
        data[-end] = value
    try:
        rows = tables.read_table(data, key=KEY)
    except (IntegrityError, UnsupportedFormatError):
        return
    assert rows.schema.equals(ROWS)


_PARTS = st.sampled_from(
    ["a", "b", "a.b", "a-b", "é", "..", ".", "", "a\n", "\x7f", "...", "\\", "c:"]
)
_ANY_PATH = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)


def _has_fault(paths: list[str]) -> bool:
    """Say the same as `path_faults`, plainly."""
    keys = [path.encode() for path in paths]
    unsafe = any(part in ("", ".", "..") for path in paths for part in path.split("/"))
    control = any(ord(char) < 32 or ord(char) == 127 for path in paths for char in path)
    ordered = all(one < other for one, other in pairwise(keys))
    nested = any(other.startswith(f"{path}/") for path in paths for other in paths)
    return unsafe or control or not ordered or nested


@given(paths=st.lists(_ANY_PATH, max_size=5).map(lambda paths: sorted(paths, key=str.encode)))
@settings(max_examples=300)
def test_the_checks_of_paths_are_the_plain_ones(paths: list[str]) -> None:
    assert bool(tables.path_faults(pa.array(paths, pa.string()))) == _has_fault(paths)


@given(paths=st.lists(st.sampled_from(["a", "b", "a/b", "a/b/c", "a!", "B"]), max_size=4))
def test_the_checks_of_order_are_the_plain_ones(paths: list[str]) -> None:
    chunked = pa.chunked_array([[path] for path in paths], pa.string())
    assert bool(tables.path_faults(chunked)) == _has_fault(paths)


_USE = """
import os
import pyarrow
from prefect_datasets.core.format import tables
from prefect_datasets.core.format.rows import ROWS

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
data = open({file!r}, "rb").read()
rows = tables.read_table(data, key="k")
again = tables.write_table(rows)
assert threads() == before, (before, threads())
assert again.equals(pyarrow.py_buffer(data))
"""


@pytest.mark.timeout(300)
def test_processes_that_use_tables_start_no_threads_and_end_well_under_load(tmp_path: Path) -> None:
    file = tmp_path / "0.parquet"
    file.write_bytes(tables.write_table(rows_of([f"{n:06d}" for n in range(40_000)])))
    command = [sys.executable, "-c", _USE.format(file=str(file))]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    ended = [(process.communicate()[1], process.returncode) for process in running]
    assert ended == [(b"", 0)] * 4


PATHS = st.lists(
    st.text(alphabet="a0-./\n\x7fé", min_size=0, max_size=5), unique=True, max_size=12
).map(lambda paths: sorted(paths, key=str.encode))


def is_unsafe_by_itself(path: str) -> bool:
    parts = path.split("/")
    return any(part in {"", ".", ".."} for part in parts) or not path.isprintable()


@given(paths=PATHS, low=st.integers(0, 3))
@settings(max_examples=500)
def test_all_paths_at_once_are_as_each_by_itself(paths: list[str], low: int) -> None:
    column = pa.array(paths, pa.string())[low:]
    unsafe = [is_unsafe_by_itself(path) for path in paths[low:]]
    assert tables.is_unsafe(column).to_pylist() == unsafe
    if not any(unsafe):
        folders = [any(p.startswith(f"{path}/") for p in paths[low:]) for path in paths[low:]]
        assert tables.is_folder(column).to_pylist() == folders
