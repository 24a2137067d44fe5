from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datasets.core.errors import InvalidMetadataError
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.uri import DatasetUri
from tests import strategies
from tests.core.directories import (
    line,
    members,
    properties,
    read,
    touch,
    write_lines,
    write_sidecar,
)

V1, V2 = "dataset://images/v1", "dataset://images/v2"
KEY = "valohai.dataset-versions"


def test_without_metadata_nothing_is_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    found = read(tmp_path)
    assert (found.versions, found.members, found.datum_aliases, found.warnings) == ((), {}, {}, ())
    assert found.metadata.to_pylist() == [None, None]


def test_an_empty_directory_can_be_read(tmp_path: Path) -> None:
    assert read(tmp_path).versions == ()


@pytest.mark.parametrize("content", [b"", b"\n \n\t\n", b"null\n", b"\xef\xbb\xbf"])
def test_a_file_that_says_nothing_is_no_metadata(tmp_path: Path, content: bytes) -> None:
    touch(tmp_path, "a")
    (tmp_path / "valohai.metadata.jsonl").write_bytes(content)
    found = read(tmp_path)
    assert (found.versions, found.warnings) == ((), ())


def test_the_reference_examples_are_read_as_they_are_written(tmp_path: Path) -> None:
    metadata: dict[str, Any] = {}
    for class_name in ["cats", "dogs", "birds"]:
        for i in range(10):
            filename = f"{class_name}/{class_name}_{i:05d}.jpg"
            touch(tmp_path, filename)
            metadata[filename] = {
                "valohai.dataset-versions": [
                    {
                        "uri": "dataset://imagenet-subset/train-v1",
                        "packaging": True,
                    },
                ],
            }
    with (tmp_path / "valohai.metadata.jsonl").open("w") as f:
        for filename, file_metadata in metadata.items():
            json.dump({"file": filename, "metadata": file_metadata}, f)
            f.write("\n")
    found = read(tmp_path)
    uri = DatasetUri("imagenet-subset", "train-v1")
    assert found.versions == (VersionDeclaration(uri, packaging=True),)
    assert found.members[uri].to_pylist() == list(range(30))
    assert found.warnings == ()
    assert properties(tmp_path, found) == {}


def test_every_key_of_an_entry_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    entry = {
        "uri": V2,
        "packaging": False,
        "from": V1,
        "exclude": ["old.jpg", "cats/*"],
        "start_fresh": False,
        "targeting_aliases": ["prod", "best"],
        "valohai.tags": ["t1"],
        "metadata": {"k": {"deep": [1]}},
        "properties": {"p": 2},
        "associated_project_ids": ["id"],
    }
    write_lines(tmp_path, [line("a", entry)])
    found = read(tmp_path)
    assert found.versions == (
        VersionDeclaration(
            uri=DatasetUri("images", "v2"),
            packaging=False,
            base=DatasetUri("images", "v1"),
            exclude=("old.jpg", "cats/*"),
            aliases=("prod", "best"),
            tags=("t1",),
            properties={"k": {"deep": [1]}, "p": 2, "associated_project_ids": ["id"]},
        ),
    )
    assert found.warnings == ()


def test_a_file_can_be_in_several_versions(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b", "c")
    write_lines(tmp_path, [line("b", V1, {"uri": V2}), line("c", V2), line("a", x=1)])
    found = read(tmp_path)
    assert members(tmp_path, found) == {V1: ["b"], V2: ["b", "c"]}


@pytest.mark.parametrize(
    "entry", [{"uri": V2, "from": None}, {"uri": V2, "from": V1, "start_fresh": True}]
)
def test_null_and_start_fresh_mean_no_base(tmp_path: Path, entry: dict[str, Any]) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [line("a", entry)])
    assert read(tmp_path).versions[0].base is None


def test_what_files_say_of_one_version_is_united(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b", "c")
    write_lines(
        tmp_path,
        [
            line("c", {"uri": V2, "exclude": ["x", "y"], "targeting_aliases": ["p"]}),
            line("b", {"uri": V2, "exclude": ["y", "z"], "from": V1, "metadata": {"k": 1}}),
            line("a", V2),
        ],
    )
    (version,) = read(tmp_path).versions
    assert version == VersionDeclaration(
        DatasetUri("images", "v2"),
        base=DatasetUri("images", "v1"),
        exclude=("y", "z", "x"),  # in the order of the files' paths
        aliases=("p",),
        properties={"k": 1},
    )


def test_packaging_is_on_if_any_file_says_so(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b", "c")
    entries = [{"uri": V1, "packaging": on} for on in (False, True)]
    write_lines(tmp_path, [line("a", entries[0]), line("b", entries[1]), line("c", V1)])
    found = read(tmp_path)
    assert found.versions[0].packaging is True
    assert found.warnings == (
        (
            "valohai.metadata.jsonl line 2 ('b'): packaging of dataset://images/v1 is on here and "
            "off at valohai.metadata.jsonl line 1 ('a'): it is on"
        ),
    )


def test_properties_of_a_version_that_differ_are_warned_of(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    entries = [{"uri": V1, "metadata": {"k": k}} for k in (1, 2)]
    write_lines(tmp_path, [line("b", entries[0]), line("a", entries[1])])
    found = read(tmp_path)
    assert found.versions[0].properties == {"k": 2}
    assert found.warnings == (
        (
            "valohai.metadata.jsonl line 1 ('b'): property 'k' of dataset://images/v1 differs from "
            "what another file says: the first in path order counts"
        ),
    )


# --- tolerated, with a warning


@pytest.mark.parametrize(
    ("metadata", "warning"),
    [
        ({KEY: V1}, "`valohai.dataset-versions` is not a list; taken as a list of one"),
        ({KEY: {"uri": V1}}, "`valohai.dataset-versions` is not a list; taken as a list of one"),
        (
            {KEY: [{"uri": V1, "from": V2, "exclude": "a"}]},
            "`exclude` is not a list; taken as a list of one",
        ),
        (
            {KEY: [{"uri": V1, "targeting_aliases": "prod"}]},
            "`targeting_aliases` is not a list; taken as a list of one",
        ),
        ({KEY: [{"uri": V1, "packaging": "Yes"}]}, "`packaging` is 'Yes' instead of true or false"),
        ({KEY: [{"uri": V1, "packaging": 0}]}, "`packaging` is 0 instead of true or false"),
        (
            {KEY: [{"uri": V1, "exclude": ["a"]}]},
            "`exclude` of dataset://images/v1 does nothing without `from`",
        ),
    ],
)
def test_other_forms_of_an_entry_are_taken(
    tmp_path: Path, metadata: dict[str, Any], warning: str
) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [{"file": "a", "metadata": metadata}])
    found = read(tmp_path)
    assert [str(version.uri) for version in found.versions] == [V1]
    assert found.warnings == (f"valohai.metadata.jsonl line 1 ('a'): {warning}",)


@pytest.mark.parametrize("key", ["valohai.dataset-version-aliases", "valohai.dataset-version"])
def test_unknown_keys_of_the_platform_are_kept_and_warned_of(tmp_path: Path, key: str) -> None:
    touch(tmp_path, "a", "b")
    write_lines(tmp_path, [line("a", V1, **{key: ["x"]}), line("b", V1, **{key: ["x"]})])
    found = read(tmp_path)
    assert properties(tmp_path, found) == {"a": {key: ["x"]}, "b": {key: ["x"]}}
    assert found.warnings == (f"'a': the key `{key}` is not known: kept as a property",)


def test_nan_becomes_null(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    write_lines(tmp_path, [line("a", loss=float("nan")), line("b", loss=float("inf"))])
    found = read(tmp_path)
    assert properties(tmp_path, found) == {"a": {"loss": None}, "b": {"loss": None}}
    assert found.warnings == (
        "valohai.metadata.jsonl line 1: NaN is no JSON: taken as null",
        "valohai.metadata.jsonl line 2: Infinity is no JSON: taken as null",
    )


def test_paths_written_in_another_way_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "cats/a", "cats/b", "c")
    write_lines(
        tmp_path, [line("./cats/a", V1), line("cats//x/../b", V1), line(f"{tmp_path}/c", V1)]
    )
    found = read(tmp_path)
    assert members(tmp_path, found) == {V1: ["c", "cats/a", "cats/b"]}
    assert found.warnings == (
        (
            "valohai.metadata.jsonl line 1 and 2 more places: names a file by a path that is not "
            "relative to the directory"
        ),
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


# --- errors, in a step too


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (
            "dataset://Images/v1",
            "Invalid dataset name 'Images': dataset://Images/v1. Use 'images'.",
        ),
        ("dataset://images", "Not a dataset version URI: 'dataset://images'. Write dataset://NAME"),
        ("images/v1", "Not a dataset version URI: 'images/v1'."),
        ("dataset://images/", "Invalid version name '': dataset://images/."),
        ("dataset://images/a..b", "Invalid version name 'a..b'"),
        ("dataset://images/v1/x", "Not a dataset version URI"),
        ("", "Not a dataset version URI: ''."),
        ("dataset://images/latest", "'latest' is reserved for the newest version"),
        (3, "An entry of `valohai.dataset-versions` is no string or object"),
        ({"packaging": True}, "An entry of `valohai.dataset-versions` has no `uri`"),
        ({"uri": None}, "An entry of `valohai.dataset-versions` has no `uri`"),
        ({"uri": V1, "from": V1}, "`from` names the version itself: dataset://images/v1."),
        ({"uri": V1, "from": ""}, "Not a dataset version URI: ''."),
        ({"uri": V1, "from": 7}, "`from` is no version URI: dataset://images/v1."),
        ({"uri": V1, "start_fresh": "x"}, "`start_fresh` is not true or false"),
        ({"uri": V1, "packaging": "maybe"}, "`packaging` is 'maybe' instead of true or false"),
        ({"uri": V1, "packaging": [1]}, "`packaging` is [1] instead of true or false"),
        ({"uri": V1, "exclude": [1]}, "`exclude` is not a list of strings"),
        ({"uri": V1, "exclude": {}}, "`exclude` is not a list of strings"),
        ({"uri": V1, "exclude": [""]}, "A pattern is empty"),
        ({"uri": V1, "exclude": ["[b-a]"]}, "The range b-a runs backwards: [b-a]."),
        ({"uri": V1, "targeting_aliases": [1]}, "`targeting_aliases` is not a list of strings"),
        ({"uri": V1, "targeting_aliases": ["v1"]}, "The alias 'v1' is the version's own name"),
        ({"uri": V1, "targeting_aliases": ["latest"]}, "'latest' is reserved"),
        ({"uri": V1, "targeting_aliases": ["a/b"]}, "Invalid version name 'a/b'"),
        ({"uri": V1, "valohai.tags": 1}, "`valohai.tags` is not a list of strings"),
        ({"uri": V1, "metadata": [1]}, "`metadata` of an entry is not an object"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_an_entry_that_is_unclear_is_an_error(
    tmp_path: Path, entry: object, error: str, strict: bool
) -> None:
    touch(tmp_path, "a", "b")
    write_lines(tmp_path, [{"file": "a", "metadata": {KEY: [entry]}}, line("b", V2)])
    with pytest.raises(InvalidMetadataError) as caught:
        read(tmp_path, strict=strict)
    (fault,) = caught.value.faults
    assert fault.startswith(f"valohai.metadata.jsonl line 1 ('a'): {error}")


@pytest.mark.parametrize("value", [3, True, 1.5])
def test_versions_that_are_no_list_are_an_error(tmp_path: Path, value: object) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [{"file": "a", "metadata": {KEY: value}}])
    with pytest.raises(InvalidMetadataError, match=r"`valohai\.dataset-versions` is not a list"):
        read(tmp_path, strict=False)


@pytest.mark.parametrize("other", [None, "dataset://images/v0"])
@pytest.mark.parametrize("strict", [True, False])
def test_different_bases_are_an_error_that_names_both_files(
    tmp_path: Path, other: str | None, strict: bool
) -> None:
    touch(tmp_path, "a", "b", "c")
    entries = [{"uri": V2, "from": base} for base in (V1, other)]
    write_lines(tmp_path, [line("a", V2), line("b", entries[0]), line("c", entries[1])])
    with pytest.raises(InvalidMetadataError) as caught:
        read(tmp_path, strict=strict)
    assert caught.value.faults == (
        (
            "dataset://images/v2 is made from dataset://images/v1 at valohai.metadata.jsonl line 2 "
            f"('b'), but from {other or 'nothing'} at valohai.metadata.jsonl line 3 ('c')"
        ),
    )


def test_an_alias_of_two_versions_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    entries = [{"uri": uri, "targeting_aliases": ["prod"]} for uri in (V1, V2)]
    write_lines(tmp_path, [line("a", *entries)])
    with pytest.raises(InvalidMetadataError) as caught:
        read(tmp_path)
    assert caught.value.faults == (
        "The alias 'prod' is asked for dataset://images/v1 and for dataset://images/v2",
    )


def test_an_alias_that_is_another_version_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [line("a", {"uri": V1, "targeting_aliases": ["v2"]}, V2)])
    with pytest.raises(InvalidMetadataError) as caught:
        read(tmp_path)
    assert caught.value.faults == (
        "The alias 'v2' of dataset://images/v1 is a version made here too",
    )


def test_the_same_alias_in_two_datasets_is_fine(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    entries = [
        {"uri": uri, "targeting_aliases": ["prod"]} for uri in (V1, "dataset://sounds/prod2")
    ]
    write_lines(tmp_path, [line("a", *entries)])
    assert len(read(tmp_path).versions) == 2


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


# --- properties of files


def test_tags_alias_and_other_keys_are_properties(tmp_path: Path) -> None:
    touch(tmp_path, "model.pkl")
    said = {
        "valohai.tags": ["t"],
        "valohai.alias": "best-model",
        "valohai.model-versions": ["model://m/"],
        "accuracy": 0.9,
    }
    write_lines(tmp_path, [line("model.pkl", V1, **said)])
    found = read(tmp_path)
    assert properties(tmp_path, found) == {"model.pkl": said}
    assert found.datum_aliases == {"best-model": "model.pkl"}
    assert found.warnings == ()


def test_an_alias_in_a_list_of_one_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [line("a", **{"valohai.alias": ["best"]})])
    found = read(tmp_path)
    assert found.datum_aliases == {"best": "a"}
    assert found.warnings == ("'a': `valohai.alias` is a list; it should be one string",)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("valohai.tags", "t", "`valohai.tags` is not a list of strings"),
        ("valohai.tags", [1], "`valohai.tags` is not a list of strings"),
        ("valohai.alias", ["a", "b"], "`valohai.alias` is not a string"),
        ("valohai.alias", 5, "`valohai.alias` is not a string"),
        (
            "valohai.alias",
            "a/b",
            (
                "`valohai.alias` 'a/b' is not made of letters, digits, dots, underscores and "
                "dashes, a letter or digit first"
            ),
        ),
        (
            "valohai.alias",
            "0190A0B0-0000-7000-8000-000000000000",
            "`valohai.alias` '0190A0B0-0000-7000-8000-000000000000' looks like the id of a datum",
        ),
    ],
)
def test_a_faulty_key_of_a_file_is_kept_as_a_property(
    tmp_path: Path, key: str, value: object, fault: str
) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [line("a", **{key: value})])
    found = read(tmp_path, strict=False)
    assert properties(tmp_path, found) == {"a": {key: value}}
    assert found.datum_aliases == {}
    assert found.warnings == (f"'a': {fault}",)
    with pytest.raises(InvalidMetadataError):
        read(tmp_path)


@pytest.mark.parametrize("more", [{}, {"k": 1}])
def test_an_alias_of_two_files_is_a_fault(tmp_path: Path, more: dict[str, Any]) -> None:
    touch(tmp_path, "a", "b")
    alias = {"valohai.alias": "best"}
    write_lines(tmp_path, [line("b", **alias), line("a", **alias, **more)])
    found = read(tmp_path, strict=False)
    assert found.datum_aliases == {"best": "a"}
    assert found.warnings == ("`valohai.alias` 'best' is given to two files: 'a' and 'b'",)


# --- whatever is written


def _by_file(draws: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [{"file": file, "metadata": metadata} for file, metadata in draws]


_SAID = strategies.path_lists(min_size=1, max_size=6).flatmap(
    lambda paths: st.tuples(*(st.tuples(st.just(path), strategies.metadata()) for path in paths))
)


@given(said=_SAID, rng=st.randoms())
@settings(max_examples=40)
def test_the_order_of_lines_does_not_matter(
    said: tuple[tuple[str, dict[str, Any]], ...], rng: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        touch(root, *(file for file, _ in said))
        write_lines(root, _by_file(list(said)))
        first = read(root)
        write_lines(root, _by_file(rng.sample(said, len(said))))
        second = read(root)
    assert first.versions == second.versions
    assert {uri: rows.to_pylist() for uri, rows in first.members.items()} == {
        uri: rows.to_pylist() for uri, rows in second.members.items()
    }
    assert first.metadata.to_pylist() == second.metadata.to_pylist()


@given(said=_SAID, data=st.data())
@settings(max_examples=40)
def test_a_sidecar_is_as_good_as_a_line(
    said: tuple[tuple[str, dict[str, Any]], ...], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        touch(root, *(file for file, _ in said))
        write_lines(root, _by_file(list(said)))
        by_lines = read(root)
        beside = data.draw(st.sets(st.sampled_from([file for file, _ in said])))
        for file, metadata in said:
            if file in beside:
                write_sidecar(root, file, metadata)
        write_lines(root, _by_file([one for one in said if one[0] not in beside]))
        by_both = read(root)
    assert by_lines.versions == by_both.versions
    assert [rows.to_pylist() for rows in by_lines.members.values()] == [
        rows.to_pylist() for rows in by_both.members.values()
    ]
    assert by_lines.metadata.to_pylist() == by_both.metadata.to_pylist()


@given(said=_SAID)
@settings(max_examples=40)
def test_what_is_read_is_what_is_written(said: tuple[tuple[str, dict[str, Any]], ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        touch(root, *(file for file, _ in said))
        write_lines(root, _by_file(list(said)))
        found = read(root)
        found_members = members(root, found)
        found_properties = properties(root, found)
    expected: dict[str, list[str]] = {}
    for file, metadata in said:
        for entry in metadata.get(KEY, ()):
            uri = entry if isinstance(entry, str) else entry["uri"]
            expected.setdefault(uri, []).append(file)
    assert found_members == {uri: sorted(set(at), key=str.encode) for uri, at in expected.items()}
    others = {file: {k: v for k, v in m.items() if k != KEY} for file, m in said}
    assert found_properties == {file: body for file, body in others.items() if body}


@given(said=st.lists(st.sampled_from([V1, V2, "dataset://sounds/v1"]), min_size=1, max_size=9))
def test_lines_that_look_alike_are_kept_apart(said: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        touch(root, *map(str, range(len(said))))
        write_lines(root, [line(str(at), uri) for at, uri in enumerate(said)])
        found = members(root, read(root))
    assert found == {
        uri: [str(at) for at, other in enumerate(said) if other == uri] for uri in set(said)
    }


@given(content=st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
@settings(max_examples=150)
def test_no_content_breaks_the_reader(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        touch(root, "a")
        (root / "valohai.metadata.jsonl").write_bytes(content)
        assert read(root, strict=False).versions == ()
