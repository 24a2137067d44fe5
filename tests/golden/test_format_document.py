"""`docs/format.md` says what the code does: its example is computed, its lists are compared."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import Package, Part
from prefect_datasets.core.format.rows import ROWS, files_digest
from prefect_datasets.core.format.tables import FORMAT_KEY
from prefect_datasets.core.publish.plan_version import MAX_PACKAGE_BYTES, MAX_PART_FILES
from prefect_datasets.core.uri import DatasetUri

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "format.md").read_text()
STORE = ROOT / "tests" / "golden" / "v1"


def _first_column(mark: str) -> list[str]:
    """Return what stands in the first column of the table behind a mark."""
    table = TEXT.split(f"<!-- {mark} -->\n", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("mark", "key"),
    [
        ("keys: VersionRecord", "datasets/digits/v1.json"),
        ("keys: AliasRecord", "datasets/digits/@stable.json"),
        ("keys: PackagesRecord", "datasets/digits/@packages/v2.json"),
    ],
)
def test_the_keys_of_each_object_are_listed(mark: str, key: str) -> None:
    assert _first_column(mark) == list(json.loads((STORE / key).read_bytes()))


@pytest.mark.parametrize("kind", [Part, Package])
def test_the_keys_within_them_are_listed(kind: Any) -> None:
    assert _first_column(f"keys: {kind.__name__}") == [f.name for f in dataclasses.fields(kind)]


def test_the_columns_are_listed() -> None:
    assert _first_column("columns") == ROWS.names
    nullable = re.findall(r"^\| `\w+` \| [^|]+ \| (yes|no) \|", TEXT, flags=re.MULTILINE)
    assert nullable == ["yes" if field.nullable else "no" for field in ROWS]
    assert FORMAT_KEY.decode() in TEXT


def test_the_example_of_the_digest_is_what_the_code_computes() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    found: dict[str, Any] = {}
    exec(example, found)
    digests = [found["sha256"](data).digest() for data in (b"hello\n", b"")]
    columns = {
        "path": ["a.txt", "b/c.bin"],
        "size": pa.array([6, 0], pa.int64()),
        "sha256": pa.array(digests, pa.binary(32)),
    }
    assert files_digest([pa.table(columns)]) == found["digest"]


def test_the_limits_of_a_part_are_told() -> None:
    assert f"after {MAX_PART_FILES:,} files" in TEXT
    assert f"({MAX_PACKAGE_BYTES >> 30} GiB unless told)" in TEXT


def test_every_key_of_the_layout_is_listed() -> None:
    uri, execution = DatasetUri("<dataset>", "<version>"), "<execution>"
    made = [
        keys.files_prefix(execution) + "<path>",
        keys.package_key(execution, uri, 0, 1),
        keys.package_key(execution, uri, 0, 2).replace("-1.", "-<n>."),
        keys.tables_prefix(execution, uri) + "<k>.parquet",
        keys.tables_prefix(execution, None) + "<k>.parquet",
        keys.stamps_key(keys.tables_prefix(execution, uri) + "<k>.parquet"),
        keys.journal_prefix(execution, uri) + "<k>-<m>.parquet",
        keys.execution_key(execution),
        keys.record_key(uri),
        keys.alias_key(DatasetUri("<dataset>", "<alias>")),
        keys.packages_key(uri),
        keys.tombstone_key(uri),
        keys.attempt_key(uri, execution),
        keys.once_prefix(uri, "<digest>", "job").replace("/job/", "/<work>/…"),
        keys.datum_alias_key("<alias>"),
    ]
    section = TEXT.split("## Keys", 1)[1].split("## When", 1)[0]
    assert re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)[:-1] == made
    assert keys.file_key("x", "50%.txt").endswith("/50%25.txt")
