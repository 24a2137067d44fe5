"""Digests and ids follow from the files alone."""

from __future__ import annotations

import hashlib
import struct
import uuid
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.format.rows import FilesDigest, datum_id, datum_ids, files_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

EXECUTION = "0197b2f0-7a51-7c52-9c1c-3f1a5d2e8b10"
_FILES = st.lists(
    st.tuples(st.text(max_size=8), st.integers(0, 1 << 62), st.binary(min_size=32, max_size=32)),
    max_size=12,
)


def _table(files: Sequence[tuple[str, int, bytes]]) -> pa.Table:
    paths, sizes, digests = zip(*files, strict=True) if files else ((), (), ())
    columns = [
        pa.array(paths, pa.string()),
        pa.array(sizes, pa.int64()),
        pa.array(digests, pa.binary(32)),
    ]
    return pa.table(columns, names=["path", "size", "sha256"])


def _plain_digest(files: Sequence[tuple[str, int, bytes]]) -> str:
    """Say the definition in docs/format.md once more, plainly."""
    paths = b"".join(path.encode() + b"\0" for path, _, _ in files)
    sizes = b"".join(struct.pack("<q", size) for _, size, _ in files)
    digests = b"".join(digest for _, _, digest in files)
    three = (hashlib.sha256(data).digest() for data in (paths, sizes, digests))
    return hashlib.sha256(b"".join(three)).hexdigest()


@given(files=_FILES, cuts=st.lists(st.integers(0, 12), max_size=4).map(sorted))
def test_the_digest_is_the_plain_one_however_the_rows_are_cut(
    files: list[tuple[str, int, bytes]], cuts: list[int]
) -> None:
    rows, expected = _table(files), _plain_digest(files)
    assert files_digest([rows]) == expected
    bounds = [0, *(min(cut, len(files)) for cut in cuts), len(files)]
    pieces = [rows.slice(start, end - start) for start, end in pairwise(bounds)]
    digest = FilesDigest()
    for piece in pieces:
        digest.update(piece)
    assert digest.hexdigest() == expected
    assert files_digest([pa.concat_tables(pieces)]) == expected


def test_every_column_counts() -> None:
    files = [("a", 1, b"1" * 32), ("b", 2, b"2" * 32)]
    others = [
        [],
        files[:1],
        [("a", 1, b"1" * 32), ("c", 2, b"2" * 32)],
        [("a", 1, b"1" * 32), ("b", 3, b"2" * 32)],
        [("a", 1, b"1" * 32), ("b", 2, b"3" * 32)],
        [("ab", 1, b"1" * 32), ("", 2, b"2" * 32)],
    ]
    digests = {files_digest([_table(some)]) for some in [files, *others]}
    assert len(digests) == len(others) + 1


@given(execution=st.uuids(), paths=st.lists(st.text(max_size=8)))
def test_datum_ids_are_the_same_one_by_one(execution: uuid.UUID, paths: list[str]) -> None:
    assert datum_ids(str(execution), paths) == [datum_id(str(execution), path) for path in paths]


def test_a_datum_id_leads_to_its_execution() -> None:
    found = datum_id(EXECUTION, "files/a")
    assert str(uuid.UUID(found)) == found
    assert found[:18] == EXECUTION[:18]
    assert found != datum_id(EXECUTION, "files/b")
