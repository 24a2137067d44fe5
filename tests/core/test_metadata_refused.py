"""Metadata that is unclear is an error, in a step too."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_datasets.core.errors import InvalidMetadataError
from tests.core.directories import KEY, V1, V2, line, read, touch, write_lines


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
