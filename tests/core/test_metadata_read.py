"""What the metadata of output files says of versions and of the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.core.errors import InvalidMetadataError
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.uri import DatasetUri
from tests.core.directories import KEY, V1, V2, line, members, properties, read, touch, write_lines


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
