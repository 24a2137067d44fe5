"""Whatever is written is read back, in any order and form; nothing breaks the reader."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests import strategies
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
