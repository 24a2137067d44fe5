"""Many lines and texts are read together; here that is held to reading each by itself."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datasets.core.errors import InvalidMetadataError
from prefect_datasets.core.metadata import lines, texts
from prefect_datasets.core.metadata.cut import cut_alike
from prefect_datasets.core.metadata.declarations import Declarations
from prefect_datasets.core.metadata.read import read_declarations
from prefect_datasets.core.metadata.scan import METADATA_FILE, Scan, scan

from .directories import touch

V1, V2 = "dataset://a/v1", {"uri": "dataset://a/v2", "packaging": True}
NAMES = st.sampled_from(["a", "b", "c/d", "é", "missing", 'quo"te', "back\\slash", "", "./a"])
VERSIONS = st.sampled_from([[V1], [V2], [V1, V2], V1, [], None, [{**V2, "packaging": 1}], [3]])
OTHERS = st.dictionaries(
    st.sampled_from(["label", "valohai.tags", "x\ud800", "é", "valohai.other"]),
    st.sampled_from(
        [1, 1.0, True, "x", ["t"], None, float("nan"), {"deep": [{}, []]}, "], [", "}\n"]
    ),
    max_size=2,
)
BODIES = st.builds(
    lambda versions, others: {"valohai.dataset-versions": versions} | others, VERSIONS, OTHERS
)
OBJECTS = st.builds(
    lambda name, body, more: {"file": name, "metadata": body} | more,
    st.none() | NAMES,
    BODIES | OTHERS | st.none() | st.just([1]),
    st.sampled_from([{}, {}, {}, {"more": 1}]),
)
PLAIN = st.builds(
    lambda name, body: {"file": name, "metadata": body},
    st.sampled_from(["a", "b", "c/d", "é"]),
    BODIES,
)
BROKEN = st.sampled_from(
    [
        "",
        " ",
        "null",
        "no JSON",
        '{"file": "a", "metadata": {"x": [{}}',
        '{"file": "b", "metadata": {}]},{}}',
        '{"file": "a", "metadata": {"x": 1}} ',
        '{"metadata": {}, "file": "c/d"}',
        '{"file": "a", "metadata": }',
        '{"file": ", "metadata": {}}',
        '{"file": "a", "metadata": {"valohai.dataset-versions": []}}\r',
    ]
)


def write(items: list[Any], root: Path, *, compact: bool, ascii_only: bool) -> None:
    separators = (",", ":") if compact else (", ", ": ")
    written = [
        item
        if isinstance(item, str)
        else json.dumps(item, ensure_ascii=ascii_only, separators=separators)
        for item in items
    ]
    text = "\n".join(written).encode(errors="surrogatepass")
    (root / METADATA_FILE).write_bytes(text)


def read(found: Scan, *, strict: bool) -> Any:
    """Return all that is read, or what is said to be wrong."""
    try:
        declared = read_declarations(found, strict=strict)
    except InvalidMetadataError as error:
        return str(error)
    return plain(declared)


def plain(declared: Declarations) -> tuple[Any, ...]:
    members = {uri: rows.to_pylist() for uri, rows in declared.members.items()}
    properties = declared.metadata.to_pylist()
    return declared.versions, members, properties, declared.datum_aliases, declared.warnings


@given(
    items=st.lists(OBJECTS | PLAIN | BROKEN, max_size=8) | st.lists(PLAIN, max_size=8),
    compact=st.booleans(),
    ascii_only=st.booleans(),
    strict=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_together_is_as_one_by_one(
    items: list[Any], compact: bool, ascii_only: bool, strict: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder)
        touch(root, "a", "b", "c/d", "é")
        write(items, root, compact=compact, ascii_only=ascii_only)
        found = scan(root)
        patch.setattr(texts, "_FEW", 0)
        patch.setattr(lines, "_BLOCK_BYTES", 200)
        together = read(found, strict=strict)
        patch.setattr(lines, "cut_alike", lambda text: None)
        patch.setattr(texts, "_FEW", 1 << 30)
        assert read(found, strict=strict) == together


def test_texts_of_one_block_that_are_lists_only_together_are_not_taken(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b", "c")
    pieces = {"a": '{"x": [{}', "b": "{}]},{}", "c": "{}"}
    said = "".join(f'{{"file": "{name}", "metadata": {text}}}\n' for name, text in pieces.items())
    (tmp_path / METADATA_FILE).write_text(said)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_FEW", 0)
        with pytest.raises(InvalidMetadataError) as caught:
            read_declarations(scan(tmp_path), strict=True)
    assert [line.split(":")[0].strip() for line in caught.value.faults] == [
        "valohai.metadata.jsonl line 1", "valohai.metadata.jsonl line 2",
    ]  # fmt: skip


def test_lines_that_differ_in_name_and_metadata_alone_are_cut_together() -> None:
    text = b'{"file": "a", "metadata": {"x": 1}}\n{"file": "b/c", "metadata": {"y": {}}}\n'
    found = cut_alike(text * 3)
    assert found is not None
    assert found.names.to_pylist() == [b"a", b"b/c"] * 3
    assert found.texts.to_pylist() == [b'{"x": 1}', b'{"y": {}}'] * 3
