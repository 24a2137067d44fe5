"""Records come back as they were written; what is none, or is too new, is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.errors import IntegrityError, UnsupportedFormatError
from prefect_datasets.core.format.record import (
    AliasRecord,
    Package,
    PackagesRecord,
    Part,
    VersionRecord,
)
from prefect_datasets.core.uri import DatasetUri

KEY = "datasets/d/v.json"
_TEXT = st.text(max_size=10)
_COUNT = st.integers(0, 1 << 62)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_PACKAGES = st.builds(Package, key=_TEXT, n_bytes=_COUNT, datum=_TEXT)
_PARTS = st.builds(
    Part,
    table=_TEXT,
    table_bytes=_COUNT,
    table_sha256=_TEXT,
    n_files=_COUNT,
    n_bytes=_COUNT,
    first=_TEXT,
    last=_TEXT,
    digest=_TEXT,
    package=st.none() | _PACKAGES,
)
_RECORDS = st.builds(
    VersionRecord,
    uri=st.just(DatasetUri("d", "v")),
    digest=_TEXT,
    created=_TEXT,
    execution=_TEXT,
    attempt=_TEXT,
    parts=st.lists(_PARTS, max_size=3).map(tuple),
    parent=_TEXT,
    tags=st.lists(_TEXT, max_size=3).map(tuple),
    properties=st.dictionaries(_TEXT, _JSON, max_size=3),
)
_LATER = st.builds(
    PackagesRecord,
    digest=_TEXT,
    created=_TEXT,
    execution=_TEXT,
    attempt=_TEXT,
    packages=st.lists(_PACKAGES, max_size=3).map(tuple),
)
_ALIASES = st.builds(AliasRecord, target=_TEXT, updated=_TEXT)

PART = Part("t", 1, "00", 2, 30, "a", "b", "11", Package("p", 99, "datum"))
RECORD = VersionRecord(DatasetUri("d", "v"), "22", "now", "e", "a", (PART,))
KINDS: list[Any] = [
    RECORD,
    PackagesRecord("22", "now", "e", "a", (Package("p", 99, "datum"),)),
    AliasRecord("v", "now"),
]


@given(record=_RECORDS | _LATER | _ALIASES)
def test_a_record_comes_back(record: Any) -> None:
    data = record.to_json()
    again = type(record).from_json(data, key=KEY)
    assert again == record
    assert again.to_json() == data


def test_a_record_counts_its_files_and_packages() -> None:
    twice = dataclasses.replace(RECORD, parts=(PART, PART))
    assert (twice.n_files, twice.n_bytes, len(twice.packages)) == (4, 60, 2)
    body = json.loads(twice.to_json())
    assert (body["n_files"], body["n_bytes"]) == (4, 60)


@pytest.mark.parametrize(
    ("packages", "expected"),
    [((), False), ((None,), False), ((PART.package,), True), ((PART.package, None), False)],
)
def test_a_version_is_packaged_if_every_part_is(
    packages: tuple[Package | None, ...], expected: bool
) -> None:
    parts = tuple(dataclasses.replace(PART, package=package) for package in packages)
    assert dataclasses.replace(RECORD, parts=parts).is_packaged is expected


@pytest.mark.parametrize("record", KINDS)
@pytest.mark.parametrize("found", [2, 99])
def test_a_newer_format_is_refused_whatever_else_it_holds(record: Any, found: int) -> None:
    for body in ({"format": found}, {**json.loads(record.to_json()), "format": found, "new": 1}):
        with pytest.raises(UnsupportedFormatError, match="Upgrade prefect-datasets") as caught:
            type(record).from_json(json.dumps(body).encode(), key=KEY)
        assert caught.value.subject == KEY


@pytest.mark.parametrize("record", KINDS)
def test_a_key_that_is_missing_is_named(record: Any) -> None:
    body = json.loads(record.to_json())
    needed = set(body) - {"n_files", "n_bytes"}  # these two are told by the parts
    for name in needed:
        data = json.dumps({key: value for key, value in body.items() if key != name}).encode()
        with pytest.raises(IntegrityError, match=name) as caught:
            type(record).from_json(data, key=KEY)
        assert caught.value.subject == KEY


@pytest.mark.parametrize("record", KINDS)
@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"1", b"null", b"{}", b"\xff", b'{"format": 1}']
)
def test_other_bytes_are_no_record(record: Any, data: bytes) -> None:
    with pytest.raises(IntegrityError, match="Not a record of a dataset"):
        type(record).from_json(data, key=KEY)


def test_parts_of_another_form_are_refused() -> None:
    body = json.loads(RECORD.to_json())
    for parts in (None, 3, ["x"], [{}], [{**body["parts"][0], "more": 1}]):
        with pytest.raises(IntegrityError):
            VersionRecord.from_json(json.dumps({**body, "parts": parts}).encode(), key=KEY)


def test_records_can_be_read_by_people() -> None:
    text = RECORD.to_json().decode()
    assert text.startswith('{\n "format": 1,\n "dataset": "d",')
    assert text.endswith("}\n")
