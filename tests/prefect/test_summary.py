"""The summary of a version: what it says, what it draws, and what it leaves out."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect import flow
from prefect.assets import Asset, AssetProperties, materialize
from prefect.runtime import flow_run

from prefect_datasets import publish_outputs, resolve_inputs, write_metadata
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format.record import Package, Part, VersionRecord
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions.catalog import find
from prefect_datasets.core.versions.changes import Amount, Changes
from prefect_datasets.tasks import links, pictures, savings
from prefect_datasets.tasks.announce import announce
from prefect_datasets.tasks.run import current_run
from prefect_datasets.tasks.summary import Story, saved, summary
from tests.prefect import observe

SVG = "{http://www.w3.org/2000/svg}"
SIZES = st.lists(st.integers(0, 10**13), min_size=1, max_size=60)
AMOUNTS = st.builds(Amount, st.integers(0, 10**7), st.integers(0, 10**13))


def record_of(n_files: int, package_bytes: int, *, version: str = "v2", parts: int = 1) -> Any:
    """Return the record of a packaged version."""
    stored = [
        Part(
            table=f"t{k}",
            table_bytes=1,
            table_sha256="ab" * 32,
            n_files=n_files // parts,
            n_bytes=package_bytes // parts,
            first="a/[x](http://example.org)|.txt",
            last="z",
            digest="cd" * 32,
            package=Package(f"outputs/e/packages/p-{k}.vhpkgzip", package_bytes // parts, "d"),
        )
        for k in range(parts)
    ]
    return VersionRecord(
        uri=DatasetUri("images", version),
        digest="ef" * 32,
        created="2026-11-22T00:00:00Z",
        execution="e",
        attempt="a",
        parts=tuple(stored),
        parent="dataset://images/v1",
    )


def drawn(svg: str) -> ET.Element:
    """Return a picture, as a browser reads it."""
    return ET.fromstring(svg)


@given(SIZES)
def test_each_file_is_in_one_bar(sizes: list[int]) -> None:
    bars = pictures.bars(np.array(sizes, np.int64))
    for bar in bars:
        inside = [size for size in sizes if bar.low <= size < bar.high]
        assert bar.amount.n_files == len(inside)
        assert bar.amount.n_bytes == pytest.approx(sum(inside))
    assert sum(bar.amount.n_files for bar in bars) == len(sizes)
    assert len(bars) <= 16


@given(SIZES)
def test_what_is_drawn_of_sizes_stays_on_its_card(sizes: list[int]) -> None:
    card = drawn(pictures.draw_sizes(np.array(sizes, np.int64)))
    width, height = float(card.attrib["width"]), float(card.attrib["height"])
    for box in card.iter(f"{SVG}rect"):
        x, y = float(box.get("x", 0)), float(box.get("y", 0))
        assert x >= 0
        assert x + float(box.attrib["width"]) <= width + 0.11
        assert y >= 0
        assert y + float(box.attrib["height"]) <= height + 0.11


@given(st.builds(Changes, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, st.integers(0, 10**13)))
def test_what_is_drawn_of_changes_stays_on_its_card(changes: Changes) -> None:
    card = drawn(pictures.draw_changes(changes, old="dataset://a/<1>", new="dataset://a/2"))
    width = float(card.attrib["width"])
    for box in card.iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) + float(box.attrib["width"]) <= width
    assert "dataset://a/<1>" in "".join(card.itertext())


def test_few_changes_among_many_files_are_seen() -> None:
    one = Amount(1, 10)
    changes = Changes(Amount(10**6, 10**12), one, one, one, one, 20)
    boxes = drawn(pictures.draw_changes(changes, old="a", new="b")).iter(f"{SVG}rect")
    widths = [float(box.attrib["width"]) for box in boxes if box.get("height") == "24.0"]
    assert len(widths) == 6
    assert min(widths) >= 2


def test_a_picture_is_in_the_markdown_itself() -> None:
    shown = pictures.markdown("<svg/>", says="what [it] says")
    match = re.fullmatch(r"!\[what \(it\) says\]\(data:image/svg\+xml;base64,(.*)\)", shown)
    assert match
    assert base64.b64decode(match[1]) == b"<svg/>"


@pytest.mark.parametrize(
    ("best", "said"),
    [
        (savings.Fetch(3, 500), "Saves whoever fetches it 197 requests."),
        (savings.Fetch(199, 400), "Saves whoever fetches it 1 request and 100 B."),
        (savings.Fetch(201, 400), "Saves whoever fetches it 100 B."),
        (savings.Fetch(200, 501), "Saves neither requests nor bytes."),
    ],
)
def test_what_is_not_saved_is_not_said(best: savings.Fetch, said: str) -> None:
    assert saved(savings.Fetch(200, 500), best) == said


def test_savings_follow_from_the_cost_model() -> None:
    record, cost = record_of(100_000, 1 << 30), CostModel()
    single, packed = savings.one_by_one(record), savings.by_packages(record)
    assert single.requests == 100_000
    assert packed.requests == 1 + 1 + (1 << 30) // cost.request_bytes
    assert packed.seconds < single.seconds
    none = Amount(0, 0)
    few = Changes(Amount(99_990, 1 << 30), none, none, Amount(10, 5000), none, 5000)
    assert savings.after_parent(record, few) == savings.Fetch(12, 5000)


def test_a_file_name_makes_no_link_and_ends_no_cell(tmp_path: Path) -> None:
    store = DatasetStore(url=str(tmp_path))
    text = summary(record_of(10, 1000), Story(), store=store)
    (row,) = [line for line in text.splitlines() if line.startswith("| 1: p")]
    assert r"a/\[x\](http://example.org)\|.txt" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 6


def test_objects_of_a_cloud_link_to_its_console(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    amazon = open_store("s3://bucket/a b")
    assert links.web_page(amazon, "k/1") == (
        "https://console.aws.amazon.com/s3/object/bucket?prefix=a%20b%2Fk%2F1"
    )
    own = open_store("s3://bucket", {"endpoint_url": "http://127.0.0.1:1"})
    assert links.web_page(own, "k") == ""
    assert links.web_page(open_store("memory://x"), "k") == ""
    assert "console.cloud.google.com" in links.web_page(open_store("gs://bucket"), "k")


def test_a_version_of_thousands_of_packages_shows_fifty(tmp_path: Path) -> None:
    record = record_of(100_000, 1 << 40, parts=2_000)
    text = summary(record, Story(), store=DatasetStore(url=str(tmp_path)))
    assert "… and 1,950 more." in text
    assert len(text) < 50_000


# -- what a run leaves ------------------------------------------------------------------------


@flow
def derive(root: str, store: str, inputs: dict[str, str], base: str | None, version: str) -> str:
    """A flow that reads versions, and makes one of them and of a parent."""
    if inputs:
        resolve_inputs(inputs, store=store)
    write_metadata(Path(root), f"dataset://derived/{version}", packaging=True, from_version=base)
    publish_outputs(Path(root), store=store)
    return flow_run.id


def test_the_summary_tells_what_changed_and_where_it_comes_from(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    run = _two_versions(tmp_path, store)
    shown = observe.eventually(lambda: observe.artifact(run, kind="markdown"))
    text = str(shown.data)
    for said in (
        "| same | 3 | 9 B |",
        "| changed | 1 | 5 B |",
        "| added | 1 | 3 B |",
        "| input source | `dataset://derived/v1` |",
        "| parent | `dataset://derived/v1` |",
        f"/runs/flow-run/{run})",
        "| with its parent in the cache | 4 | 8 B |",
        "nothing was measured",
    ):
        assert said in text
    pictures_ = re.findall(r"data:image/svg\+xml;base64,([^)]*)\)", text)
    titles = [drawn(base64.b64decode(each).decode())[0].text for each in pictures_]
    assert titles == ["What changed, by bytes", "Sizes of 5 files, 17 B"]


def test_a_version_is_an_asset_made_of_its_parent_and_inputs(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    uri = f"dataset://derived/{tmp_path.name[-20:].strip('_')}"
    run = _two_versions(tmp_path, store, version=uri.rpartition("/")[2])
    (ours,) = observe.told(uri, "prefect.asset.materialization.succeeded")
    _materialize_as_prefect_does(ours["resource"])
    (theirs,) = observe.told(f"{uri}x", "prefect.asset.materialization.succeeded")
    assert set(ours["resource"]) == set(theirs["resource"])
    for role in ("asset", "asset-materialized-by"):
        assert _related(ours, role) == _related(theirs, role)
    assert ours["payload"]["files"] == 5
    assert f"prefect.flow-run.{run}" in _related(ours, "flow-run")
    # Once for the run, although it is both its parent and an input.
    referenced = observe.told("dataset://derived/v1", "prefect.asset.referenced")
    assert len([each for each in referenced if _is_of(each, run)]) == 1


def test_a_summary_without_tables_says_what_it_can(tmp_path: Path) -> None:
    store = tmp_path / "store"
    _two_versions(tmp_path, str(store))
    for table in store.glob("outputs/*/tables/derived/v2/*.parquet"):
        table.unlink()
    block = DatasetStore(url=str(store))

    @flow
    def tells() -> str:
        run = current_run()
        assert run is not None
        announce(run, find(block.open(), DatasetUri("derived", "v2")), store=block)
        return flow_run.id

    run = UUID(tells())
    shown = observe.eventually(lambda: observe.artifact(run, kind="markdown"))
    assert "dataset://derived/v2" in str(shown.data)
    assert "data:image" not in str(shown.data)
    observe.eventually(
        lambda: [line for line in observe.logs(run) if "does not say the sizes" in line]
    )


def _two_versions(tmp_path: Path, store: str, *, version: str = "v2") -> UUID:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, files in (
        (first, {"a": "aaa", "b": "bbb", "c": "ccc", "d": "ddd"}),
        (second, {"d": "DDDDD", "e": "eee"}),
    ):
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
    derive(str(first), store, {}, None, "v1")
    source = {"source": "dataset://derived/v1"}
    return UUID(derive(str(second), store, source, "dataset://derived/v1", version))


def _materialize_as_prefect_does(resource: dict[str, str]) -> None:
    """Let Prefect itself tell of an asset like ours, made of the same."""
    properties = AssetProperties(
        name=resource["prefect.resource.name"],
        description=resource["prefect.asset.description"],
        url=resource["prefect.asset.url"],
    )
    asset = Asset(key=f"{resource['prefect.resource.id']}x", properties=properties)

    @materialize(asset, by="prefect-datasets", asset_deps=["dataset://derived/v1"])
    def makes() -> None: ...

    @flow
    def runs() -> None:
        makes()

    runs()


def _related(event: dict[str, Any], role: str) -> set[str]:
    return {
        each["prefect.resource.id"]
        for each in event["related"]
        if each["prefect.resource.role"] == role
    }


def _is_of(event: dict[str, Any], run: UUID) -> bool:
    return f"prefect.flow-run.{run}" in _related(event, "flow-run")
