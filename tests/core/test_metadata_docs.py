"""The examples of docs/metadata.md are read as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prefect_datasets.core.metadata.scan import METADATA_FILE
from prefect_datasets.core.metadata.write import write_metadata
from prefect_datasets.core.uri import DatasetUri
from tests.core.directories import line, members, properties, read, touch, write_lines

_TEXT = (Path(__file__).parents[2] / "docs" / "metadata.md").read_text()


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _TEXT, re.DOTALL)


def test_the_lines(tmp_path: Path) -> None:
    touch(tmp_path, "cats/1.jpg", "dogs/2.jpg")
    first, _ = examples("jsonl")
    (tmp_path / METADATA_FILE).write_text(first)
    found = read(tmp_path)
    assert members(tmp_path, found) == {
        "dataset://my-images/train-v1": ["cats/1.jpg", "dogs/2.jpg"]
    }


def test_the_line_without_a_file(tmp_path: Path) -> None:
    _, second = examples("jsonl")
    (tmp_path / METADATA_FILE).write_text(second)
    (version,) = read(tmp_path).versions
    assert (version.uri, version.base) == (DatasetUri("my-data", "v3"), DatasetUri("my-data", "v2"))


def test_the_sidecar(tmp_path: Path) -> None:
    touch(tmp_path, "cats/1.jpg")
    sidecar, _ = examples("json")
    (tmp_path / "cats/1.jpg.metadata.json").write_text(sidecar)
    found = read(tmp_path)
    assert members(tmp_path, found) == {"dataset://my-images/train-v1": ["cats/1.jpg"]}
    assert properties(tmp_path, found) == {"cats/1.jpg": {"label": "cat"}}


def test_the_object(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    _, entry = examples("json")
    write_lines(tmp_path, [line("a", json.loads(entry))])
    found = read(tmp_path)
    assert found.warnings == ()
    assert found.versions[0].exclude == ("old.jpg", "drafts/**")
    assert found.versions[0].properties == {}


def test_the_python(tmp_path: Path) -> None:
    touch(tmp_path, "cats/1.jpg", "dogs/2.jpg")
    (code,) = examples("python")
    _, calls = code.split("\n\n", 1)
    exec(calls, {"write_metadata": write_metadata, "out": tmp_path})
    assert members(tmp_path, read(tmp_path)) == {
        "dataset://cats/v7": ["cats/1.jpg"],
        "dataset://my-images/train-v1": ["cats/1.jpg", "dogs/2.jpg"],
    }


def test_all_keys_are_described() -> None:
    code = (
        Path(__file__).parents[2] / "src/prefect_datasets/core/metadata/declarations.py"
    ).read_text()
    keys = re.findall(r'body(?:\.pop\(|, )"([^"]+)"', code)
    assert len(keys) >= 6
    assert [key for key in keys if f"`{key}`" not in _TEXT] == []
