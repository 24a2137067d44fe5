"""Plans of prefixes: what counts as a file, what is refused, what they share with directories."""

from __future__ import annotations

import json
import pickle
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datasets.core.errors import (
    InvalidInputError,
    InvalidMetadataError,
    SourceChangedError,
)
from prefect_datasets.core.metadata.scan_prefix import scan_prefix
from prefect_datasets.core.publish.plan import Plan, plan_directory
from prefect_datasets.core.publish.prefix import plan_prefix, read_prefix
from prefect_datasets.core.publish.publish import publish_part, publish_plan
from prefect_datasets.core.store import Store, open_store
from tests.core.published import declare, uri, write_files

LINE = {"valohai.dataset-versions": ["dataset://pets/v1"], "colour": "red"}


def fresh() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}/raw")


@pytest.fixture
def raw() -> Store:
    return fresh()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


# -- the same as a directory --------------------------------------------------------------------

_NAMES = st.text("abAB.-_é1", min_size=1, max_size=3).filter(lambda name: name.strip("."))
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)


def are_files(paths: list[str]) -> bool:
    folders = {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}
    return not folders & set(paths)


@settings(max_examples=40)
@given(
    st.lists(_PATHS, min_size=1, max_size=12, unique=True).filter(are_files),
    st.sets(st.integers(0, 11)),
    st.sets(st.integers(0, 11)),
)
def test_a_prefix_is_what_the_directory_would_be(
    paths: list[str], in_lines: set[int], with_sidecar: set[int]
) -> None:
    files = {path: path.encode() * (number % 3) for number, path in enumerate(paths)}
    lines = [{"file": path, "metadata": LINE} for n, path in enumerate(paths) if n in in_lines]
    if lines:
        files["valohai.metadata.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    for number, path in enumerate(paths):
        if number in with_sidecar:
            files[f"{path}.metadata.json"] = json.dumps({**LINE, "size": number}).encode()
    raw = fresh()
    raw.write_many(list(files.items()))
    with tempfile.TemporaryDirectory() as folder:
        root, store = write_files(Path(folder, "out"), files), open_store(f"{folder}/store")
        by_directory = plan_directory(root, store=store)
        by_prefix = plan_prefix(raw.url, store=store)
    assert said(by_prefix) == said(by_directory)


def said(plan: Plan) -> list[object]:
    return [
        (version.declaration, part.rows.select(["path", "size", "metadata"]).to_pylist())
        for version in plan.versions
        for part in version.parts
    ]


def test_sizes_of_parts_are_those_of_a_directory(raw: Store, store: Store, tmp_path: Path) -> None:
    files = {f"{number:02}": b"x" * number for number in range(30)}
    raw.write_many(list(files.items()))
    declared = [declare("v1", packaging=True)]
    by_prefix = publish_plan(plan_prefix(raw.url, store=store, to=declared), store=store)
    other = open_store(str(tmp_path / "other"))
    plan = plan_directory(write_files(tmp_path / "out", files), store=other, to=declared)
    by_directory = publish_plan(plan, store=other)
    packages = [
        [place.read(package.key) for package in record.packages]
        for place, [record] in ((store, by_prefix), (other, by_directory))
    ]
    assert packages[0] == packages[1], "the same bytes, whatever they were read from"


def test_a_part_can_be_published_elsewhere(raw: Store, store: Store) -> None:
    raw.write("a", b"1")
    plan = plan_prefix(raw.url, store=store, to=[declare("v1", packaging=True)])
    part = pickle.loads(pickle.dumps(plan.versions[0].parts[0]))
    assert publish_part(part, store=store).n_files == 1


# -- what is no file ----------------------------------------------------------------------------


def test_metadata_files_are_no_members(raw: Store) -> None:
    raw.write_many(
        [
            ("a", b"1"),
            ("a.metadata.json", b"{}"),
            ("b.metadata.json", b'{"valohai.tags": ["x"]}'),
            ("c.metadata.json", b'{"of": "none"}'),
            ("valohai.metadata.jsonl", b""),
            (".valohai.metadata.jsonl.1234", b"cut off"),
            ("deep/valohai.metadata.jsonl", b""),
        ]
    )
    found = scan_prefix(raw)
    assert found.listing["path"].to_pylist() == [
        "a",
        "c.metadata.json",
        "deep/valohai.metadata.jsonl",
    ]
    assert found.metadata_paths == (
        "a.metadata.json",
        "b.metadata.json",
        "valohai.metadata.jsonl",
    )
    assert any("does not lie in the root" in warning for warning in found.warnings)


def test_faulty_metadata_is_told_before_anything_is_sent(raw: Store, store: Store) -> None:
    raw.write_many([("a", b"1"), ("valohai.metadata.jsonl", b'{"file": "b", "metadata": {}}\nno')])
    with pytest.raises(InvalidMetadataError, match=r"line 2: no JSON[\s\S]*line 1: names 'b'"):
        plan_prefix(raw.url, store=store, to=[declare("v1")])
    assert not list(store.list(""))


def test_twins_are_warned_about(raw: Store) -> None:
    raw.write_many([("Cat/1", b""), ("cat/1", b"")])
    assert any("differ only in case" in warning for warning in scan_prefix(raw).warnings)


def test_metadata_that_is_not_asked_for(raw: Store, store: Store) -> None:
    entries = {"cats": "dataset://pets/cats", "dogs": "dataset://pets/dogs"}
    for name, version in entries.items():
        raw.write(f"{name}/1", b"1")
        body = {"valohai.dataset-versions": [version], "valohai.alias": f"one-{name}"}
        raw.write(f"{name}/1.metadata.json", json.dumps(body).encode())
    plan = plan_prefix(f"{raw.url}/**", store=store, to=None)
    assert [str(version.uri) for version in plan.versions] == sorted(entries.values())
    [version] = plan_prefix(raw.url, store=store, include=["cats/*"]).versions
    assert version.parts[0].rows["path"].to_pylist() == ["cats/1"]
    assert version.datum_aliases == {"one-cats": "cats/1"}


def test_metadata_that_changes_while_it_is_read(raw: Store) -> None:
    raw.write_many([("a", b"1"), ("valohai.metadata.jsonl", b"\n")])
    found = scan_prefix(raw)
    raw.write("valohai.metadata.jsonl", b"\n\n")
    with pytest.raises(SourceChangedError, match=r"valohai\.metadata\.jsonl"):
        found.open("valohai.metadata.jsonl").read()


# -- what is refused ----------------------------------------------------------------------------


def test_the_store_is_no_member_of_itself(raw: Store) -> None:
    raw.write("data/a", b"1")
    store = open_store(f"{raw.url}/store")
    plan = plan_prefix(raw.url, store=store, to=[declare("v1")])
    publish_plan(plan, store=store)
    with pytest.raises(InvalidInputError, match=r"The store itself lies below.*store/outputs/"):
        plan_prefix(raw.url, store=store, to=[declare("v2")])
    beside = plan_prefix(f"{raw.url}/data", store=store, to=[declare("v2")])
    chosen = plan_prefix(raw.url, store=store, include=["data/"], to=[declare("v2")])
    assert [plan.versions[0].n_files for plan in (beside, chosen)] == [1, 1]
    other = open_store(f"{raw.url}/st")
    assert plan_prefix(raw.url, store=other, to=[declare("v2")]).versions[0].uri == uri("v2")


@pytest.mark.parametrize(
    ("url", "root", "include"),
    [
        ("s3://b/raw", "s3://b/raw", ()),
        ("s3://b", "s3://b", ()),
        ("s3://b/raw/**", "s3://b/raw", ("**",)),
        ("gs://b/*.csv", "gs://b", ("*.csv",)),
        ("s3://b/a/x?/c/*.csv", "s3://b/a", ("x?/c/*.csv",)),
    ],
)
def test_a_url_may_end_with_a_pattern(url: str, root: str, include: tuple[str, ...]) -> None:
    assert read_prefix(url) == (root, include)


def test_a_faulty_url_is_told_without_its_keys() -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_prefix("s3://key:secret@bucket/raw/**", ["*.csv"])
    assert "secret" not in str(caught.value)
    assert caught.value.subject == "s3://bucket/raw/**"
