from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datasets.core.errors import InvalidInputError, InvalidUriError
from prefect_datasets.core.globs import Globs
from prefect_datasets.core.metadata.scan import METADATA_FILE
from prefect_datasets.core.metadata.write import write_metadata
from prefect_datasets.core.uri import DatasetUri
from tests import strategies
from tests.core.directories import line, members, properties, read, touch, write_lines

V1, V2 = "dataset://images/v1", "dataset://images/v2"
KEY = "valohai.dataset-versions"


def lines_of(root: Path) -> list[Any]:
    return [json.loads(text) for text in (root / METADATA_FILE).read_text().splitlines()]


def test_a_line_is_written_for_each_file(tmp_path: Path) -> None:
    touch(tmp_path, "b", "a/c")
    assert write_metadata(tmp_path, V1) == 2
    assert lines_of(tmp_path) == [line("a/c", V1), line("b", V1)]


def test_the_lines_look_as_in_the_reference(tmp_path: Path) -> None:
    touch(tmp_path, "image_000000.jpg")
    write_metadata(tmp_path, "dataset://my-images/train-v1", packaging=True)
    assert (tmp_path / METADATA_FILE).read_text() == (
        '{"file": "image_000000.jpg", "metadata": {"valohai.dataset-versions": '
        '[{"uri": "dataset://my-images/train-v1", "packaging": true}]}}\n'
    )


def test_all_that_is_said_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    write_metadata(
        tmp_path,
        [DatasetUri("images", "v2"), "dataset://sounds/v1"],
        packaging=False,
        from_version=V1,
        exclude="old/*",
        aliases=["prod"],
        files=["a"],
        tags="t",
        properties={"k": [1, None]},
    )
    found = read(tmp_path)
    assert members(tmp_path, found) == {V2: ["a"], "dataset://sounds/v1": ["a"]}
    for version in found.versions:
        assert version.packaging is False
        assert version.base == DatasetUri("images", "v1")
        assert version.exclude == ("old/*",)
        assert version.aliases == ("prod",)
        assert version.tags == ("t",)
        assert version.properties == {"k": [1, None]}
    assert found.warnings == ()


def test_what_is_there_stays(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b", "c", "d")
    write_lines(
        tmp_path,
        [
            '{"file":"d","metadata":{"k":  1}}',
            line("b", V2, {"uri": V1, "from": V2, "own": 1}, k=2),
            '{"metadata": {"k": 3}, "extra": 4, "file": "a"}',
        ],
    )
    assert write_metadata(tmp_path, V1, packaging=True, files="[a-c]") == 3
    there = (tmp_path / METADATA_FILE).read_text().splitlines()
    assert there[0] == '{"file":"d","metadata":{"k":  1}}'
    entry = {"uri": V1, "packaging": True}
    assert [json.loads(text) for text in there[1:]] == [
        line("b", V2, {"uri": V1, "from": V2, "own": 1, "packaging": True}, k=2),
        {"metadata": {"k": 3, KEY: [entry]}, "extra": 4, "file": "a"},
        line("c", entry),
    ]


def test_saying_it_again_changes_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    write_metadata(tmp_path, V1, packaging=True)
    first = (tmp_path / METADATA_FILE).read_bytes()
    assert write_metadata(tmp_path, V1, packaging=True) == 2
    assert write_metadata(tmp_path, V1) == 2
    assert (tmp_path / METADATA_FILE).read_bytes() == first


def test_the_last_of_several_lines_is_added_to(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [line("a", k=1), line("a", k=2)])
    write_metadata(tmp_path, V1)
    found = read(tmp_path)
    assert members(tmp_path, found) == {V1: ["a"]}
    assert properties(tmp_path, found) == {"a": {"k": 2}}


def test_lines_that_cannot_be_added_to_stay_and_a_new_one_counts(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    faulty = ["nope", '{"file": "a", "metadata": [1]}', '{"file": "b", "metadata": {']
    write_lines(tmp_path, faulty)
    write_metadata(tmp_path, V1)
    assert (tmp_path / METADATA_FILE).read_text().splitlines()[:3] == faulty
    assert members(tmp_path, read(tmp_path, strict=False)) == {V1: ["a", "b"]}


def test_a_single_entry_that_is_no_list_becomes_one(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    write_lines(tmp_path, [{"file": "a", "metadata": {KEY: V2}}])
    write_metadata(tmp_path, V1)
    assert lines_of(tmp_path) == [line("a", V2, V1)]


def test_a_file_without_its_last_line_end_is_added_to(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    (tmp_path / METADATA_FILE).write_text('\ufeff{"file": "b", "metadata": {}}')
    write_metadata(tmp_path, V1, files="a")
    assert lines_of(tmp_path) == [line("b"), line("a", V1)]


def test_an_empty_file_is_added_to(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    (tmp_path / METADATA_FILE).write_text("")
    assert write_metadata(tmp_path, V1) == 1


def test_with_a_base_no_file_is_needed(tmp_path: Path) -> None:
    assert write_metadata(tmp_path, V2, from_version=V1, exclude=["old"]) == 0
    found = read(tmp_path)
    (version,) = found.versions
    assert (version.base, version.exclude) == (DatasetUri("images", "v1"), ("old",))
    assert found.members[version.uri].to_pylist() == []


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    write_metadata(tmp_path, V1)
    write_metadata(tmp_path, V2)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", METADATA_FILE]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / METADATA_FILE).stat().st_mode) == 0o666 & ~umask


def test_several_threads_lose_nothing_of_each_other(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{at}/x" for at in range(8)))
    threads = [
        threading.Thread(target=write_metadata, args=(tmp_path, V1), kwargs={"files": f"{at}/"})
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert members(tmp_path, read(tmp_path)) == {V1: [f"{at}/x" for at in range(8)]}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"uris": "dataset://Images/v1"}, "Invalid dataset name 'Images'"),
        ({"uris": "dataset://images/latest"}, "'latest' is reserved"),
        ({"uris": []}, "No version named. Give at least one dataset version URI."),
        ({"uris": V1, "from_version": V1}, "`from` names the version itself"),
        ({"uris": V1, "from_version": "v0"}, "Not a dataset version URI: 'v0'"),
        ({"uris": V1, "aliases": "v1"}, "The alias 'v1' is the version's own name"),
        ({"uris": V1, "aliases": ["a/b"]}, "Invalid version name 'a/b'"),
        ({"uris": V1, "exclude": [""]}, "A pattern is empty"),
        ({"uris": V1, "files": ""}, "A pattern is empty"),
        (
            {"uris": V1, "files": ["*.png", "x"]},
            r"No file matches '\*.png', 'x': .*Write the files",
        ),
        ({"uris": V1, "properties": {"k": {1}}}, "`properties` can't be written as JSON"),
        ({"uris": V1, "properties": {"k": float("nan")}}, "`properties` can't be written as JSON"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_written(
    tmp_path: Path, arguments: dict[str, Any], error: str
) -> None:
    touch(tmp_path, "a")
    uris = arguments.pop("uris")
    with pytest.raises(InvalidInputError, match=error):
        write_metadata(tmp_path, uris, **arguments)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_an_empty_directory_without_a_base_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"No file matches '\*\*'"):
        write_metadata(tmp_path, V1)


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="No such directory"):
        write_metadata(tmp_path / "no", V1)


def test_a_bad_uri_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidUriError):
        write_metadata(tmp_path, "images/v1")


_CALLS = st.lists(
    st.tuples(
        st.sampled_from([V1, V2]),
        st.sampled_from(["**", "*", "a*", "**/b*", "*/**"]),
        st.fixed_dictionaries(
            {},
            optional={
                "packaging": st.booleans(),
                "exclude": st.just(["x"]),
                "tags": st.lists(st.text(max_size=3), max_size=2),
                "properties": st.dictionaries(st.just("k"), strategies.json_values(), max_size=1),
            },
        ),
    ),
    min_size=1,
    max_size=3,
)


@given(
    paths=strategies.path_lists(min_size=1),
    said=st.dictionaries(st.integers(0, 11), strategies.metadata(), max_size=4),
    calls=_CALLS,
)
@settings(max_examples=60)
def test_what_was_said_and_what_is_added_are_both_read(
    paths: list[str], said: dict[int, dict[str, Any]], calls: list[tuple[str, str, dict[str, Any]]]
) -> None:
    """Compare with a dictionary of what each file is in and what its properties are."""
    before = {paths[at]: metadata for at, metadata in said.items() if at < len(paths)}
    expected: dict[str, set[str]] = {}
    for path, metadata in before.items():
        for entry in metadata.get(KEY, ()):
            expected.setdefault(entry if isinstance(entry, str) else entry["uri"], set()).add(path)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        touch(root, *paths)
        write_lines(root, [{"file": file, "metadata": said} for file, said in before.items()])
        for uri, files, options in calls:
            matching = {path for path in paths if Globs(files).match(path)}
            if not matching:
                continue
            assert write_metadata(root, uri, files=files, **options) == len(matching)
            expected.setdefault(uri, set()).update(matching)
        found = read(root)
        found_members = members(root, found)
        found_properties = properties(root, found)
    assert {uri: set(its) for uri, its in found_members.items()} == expected
    others = {file: {k: v for k, v in m.items() if k != KEY} for file, m in before.items()}
    assert found_properties == {file: body for file, body in others.items() if body}
