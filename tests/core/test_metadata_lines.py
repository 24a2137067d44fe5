"""Lines of valohai.metadata.jsonl and sidecars: their forms, their order and their faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefect_datasets.core.errors import InvalidMetadataError
from prefect_datasets.core.uri import DatasetUri
from tests.core.directories import (
    KEY,
    V1,
    V2,
    line,
    members,
    properties,
    read,
    touch,
    write_lines,
    write_sidecar,
)

# --- lines


def test_a_later_line_replaces_an_earlier_one(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    write_lines(tmp_path, [line("a", V1, k=1), line("b", V1), line("a", V2, p=2), line("./a", V2)])
    found = read(tmp_path)
    assert members(tmp_path, found) == {V1: ["b"], V2: ["a"]}
    assert properties(tmp_path, found) == {}
    assert "valohai.metadata.jsonl: 2 lines are replaced by later ones for their file" in (
        found.warnings
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"file":"a","metadata":{"valohai.dataset-versions":["dataset://images/v1"]}}',
        '{"metadata": {"valohai.dataset-versions": ["dataset://images/v1"]}, "file": "a"}',
        '  { "file" : "a" , "metadata" : {"valohai.dataset-versions": ["dataset://images/v1"]} }  ',
        '{"file": "\\u0061", "metadata": {"valohai.dataset-versions": ["dataset://images/v1"]}}',
        '{"file": "a", "metadata": {"valohai.dataset-versions": ["dataset://images/v1"]}, "z": {}}',
        '{"file":"b","metadata":{"valohai.dataset-versions":["dataset://images/v1"]},"file":"a"}',
        '{"file": "a", "metadata": {"valohai.dataset-versions": ["dataset://images/v1"]}}\r',
        '\ufeff{"file": "a", "metadata": {"valohai.dataset-versions": ["dataset://images/v1"]}}',
    ],
)
def test_any_form_of_a_line_is_read(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [text])
    found = read(tmp_path)
    assert members(tmp_path, found) == {V1: ["a"]}
    assert found.warnings == ()


def test_a_last_line_need_not_end(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    texts = [json.dumps(line(file, V1)) for file in "ab"]
    (tmp_path / "valohai.metadata.jsonl").write_text("\n".join(texts))
    assert members(tmp_path, read(tmp_path)) == {V1: ["a", "b"]}


def test_a_null_for_metadata_says_nothing_and_replaces(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [line("a", V1), {"file": "a", "metadata": None}])
    assert read(tmp_path).versions == ()


def test_a_line_without_a_file_declares_a_version_alone(tmp_path: Path) -> None:
    entry = {"uri": V2, "from": V1, "exclude": ["old"]}
    write_lines(tmp_path, [{"file": None, "metadata": {KEY: [entry]}}])
    found = read(tmp_path)
    (version,) = found.versions
    assert (version.base, version.exclude) == (DatasetUri("images", "v1"), ("old",))
    assert found.members[version.uri].to_pylist() == []


FAULTS = [
    ("nope", "line 2: no JSON (Expecting value at column 1)"),
    ('{"file": "a", "metadata": {}', "line 2: no JSON (Expecting ',' delimiter at column 29)"),
    ("[1]", "line 2: not an object with `file` and `metadata`"),
    ('"a"', "line 2: not an object with `file` and `metadata`"),
    ('{"metadata": {}}', "line 2: has no `file`"),
    ('{"file": "", "metadata": {}}', "line 2: has no `file`"),
    ('{"file": 3, "metadata": {}}', "line 2: has no `file`"),
    ('{"file": "a"}', "line 2: has no `metadata`"),
    ('{"file": "a", "metadata": ["x"]}', "line 2: the metadata is not an object"),
    ('{"file": "a", "metadata": "x"}', "line 2: the metadata is not an object"),
    ('{"file": "gone", "metadata": {}}', "line 2: names 'gone', which is not there"),
    ('{"file": "cats", "metadata": {}}', "line 2: names 'cats', which is not there"),
    ('{"file": "../a", "metadata": {}}', "line 2: names '../a', which is not there"),
    ('{"file": "a/", "metadata": {"k":' + "[" * 100_000, "line 2: nested too deeply"),
    (
        '{"file": "valohai.metadata.jsonl", "metadata": {}}',
        "line 2: names 'valohai.metadata.jsonl', which is a metadata file",
    ),
    (
        '{"file": "\\ud800", "metadata": {}}',
        "line 2: names '\\\\xed\\\\xa0\\\\x80', which is not there",
    ),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_a_faulty_line_is_a_warning_in_a_step_and_an_error_else(
    tmp_path: Path, text: str, fault: str
) -> None:
    touch(tmp_path, "a", "b", "cats/c")
    write_lines(tmp_path, [line("b", V1), text, line("a", V1)])
    found = read(tmp_path, strict=False)
    assert members(tmp_path, found) == {V1: ["a", "b"]}
    assert found.warnings == (f"valohai.metadata.jsonl {fault}",)
    with pytest.raises(InvalidMetadataError) as caught:
        read(tmp_path)
    assert caught.value.faults == (f"valohai.metadata.jsonl {fault}",)
    assert str(caught.value).startswith(
        f"Faulty metadata: {tmp_path}. Correct what is listed; no version has been made.\n  "
    )


def test_a_line_that_is_not_utf8_is_a_fault(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    (tmp_path / "valohai.metadata.jsonl").write_bytes(b'{"file": "a", "metadata": {"k": "\xe9"}}\n')
    assert read(tmp_path, strict=False).warnings == ("valohai.metadata.jsonl line 1: not UTF-8",)


def test_all_faults_are_told_at_once_and_cut_at_a_hundred(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [line(f"gone{at}", V1) for at in range(120)])
    with pytest.raises(InvalidMetadataError) as caught:
        read(tmp_path)
    assert len(caught.value.faults) == 101
    assert caught.value.faults[-1] == "and 20 more"


# --- sidecars


def test_a_sidecar_says_the_same_as_a_line(tmp_path: Path) -> None:
    touch(tmp_path, "cats/a.jpg")
    write_sidecar(tmp_path, "cats/a.jpg", {KEY: [{"uri": V1, "packaging": True}], "k": 1})
    found = read(tmp_path)
    assert members(tmp_path, found) == {V1: ["cats/a.jpg"]}
    assert found.versions[0].packaging is True
    assert properties(tmp_path, found) == {"cats/a.jpg": {"k": 1}}


def test_a_line_counts_more_than_a_sidecar_key_by_key(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    write_sidecar(tmp_path, "a", {KEY: [{"uri": V1, "exclude": ["s"]}], "k": 1, "s": 3})
    write_sidecar(tmp_path, "b", {KEY: [V1]})
    entry = {"uri": V1, "from": "dataset://images/v0", "exclude": ["l"]}
    write_lines(tmp_path, [line("a", entry, V2, k=2, p=4), line("b", k=5)])
    found = read(tmp_path)
    assert members(tmp_path, found) == {V1: ["a", "b"], V2: ["a"]}
    assert found.versions[0].exclude == ("l", "s")
    assert properties(tmp_path, found) == {"a": {"k": 2, "s": 3, "p": 4}, "b": {"k": 5}}
    assert found.warnings == (
        "a.metadata.json: `k` differs in valohai.metadata.jsonl, which counts",
    )


def test_different_bases_in_line_and_sidecar_name_both_files(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    write_sidecar(tmp_path, "a", {KEY: [{"uri": V2, "from": "dataset://images/v0"}]})
    write_lines(tmp_path, [line("a", {"uri": V2, "from": V1})])
    with pytest.raises(InvalidMetadataError) as caught:
        read(tmp_path)
    assert caught.value.faults == (
        (
            "dataset://images/v2 is made from dataset://images/v1 at valohai.metadata.jsonl line 1 "
            "('a'), but from dataset://images/v0 at a.metadata.json"
        ),
    )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "no JSON (Expecting value at column 1)"),
        ("{", "no JSON (Expecting property name enclosed in double quotes at column 2)"),
        ("[]", "the metadata is not an object"),
    ],
)
def test_a_faulty_sidecar_is_a_warning_in_a_step_and_an_error_else(
    tmp_path: Path, content: str, fault: str
) -> None:
    touch(tmp_path, "a", "b")
    (tmp_path / "a.metadata.json").write_text(content)
    write_sidecar(tmp_path, "b", {KEY: [V1]})
    found = read(tmp_path, strict=False)
    assert members(tmp_path, found) == {V1: ["b"]}
    assert found.warnings == (f"a.metadata.json: {fault}",)
    with pytest.raises(InvalidMetadataError, match="Faulty metadata"):
        read(tmp_path)


def test_a_sidecar_without_its_file_is_a_fault_where_it_declares_something(tmp_path: Path) -> None:
    touch(tmp_path, "b")
    write_sidecar(tmp_path, "model", {KEY: [V1]})
    write_sidecar(tmp_path, "other", {"just": "data"})
    found = read(tmp_path, strict=False)
    assert found.warnings == ("model.metadata.json: its file 'model' is not there",)
    assert found.versions == ()
    with pytest.raises(InvalidMetadataError) as caught:
        read(tmp_path)
    assert caught.value.faults == found.warnings
