"""Metadata texts as columns: a million lines that repeat one object cost one object.

A line is cut into the file's name and the text of its metadata without being parsed as a whole.
Each distinct text is parsed once; a line is then two numbers. Where all lines of a block differ in
the name alone, the block is cut at what they share. Lines in another form (keys in another order,
more keys) are parsed whole.
"""

from __future__ import annotations

import json
from array import array
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import binaries, codes, optional_strings, take
from prefect_datasets.core.metadata.cut import LINE, Cut, cut_alike
from prefect_datasets.core.metadata.texts import Parsed, Texts, where_line

if TYPE_CHECKING:
    from collections.abc import Iterator


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ROWS_AT_ONCE = 65536
_BLOCK_BYTES = 1 << 19

Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Columns:
    """What is said of files, one item per line and per sidecar, a later one over an earlier one.

    Attributes:
        names: The files' paths, as bytes.
        lines: The line that says it, from 1; 0 for a sidecar.
        versions: Number of what it says of versions (`Texts.versions`).
        properties: Where in `texts` the JSON of the other keys is, -1 for none.
        texts: Distinct JSON objects.
    """

    names: pa.ChunkedArray
    lines: Int32s
    versions: Int32s
    properties: Int32s
    texts: pa.Array


@dataclass(slots=True)
class ColumnsBuilder:
    """Collects `Columns`, never holding more than a chunk as Python objects."""

    _names: list[bytes] = field(default_factory=list[bytes])
    _properties: list[str | None] = field(default_factory=list[str | None])
    _lines: array[int] = field(default_factory=lambda: array("i"))
    _versions: array[int] = field(default_factory=lambda: array("i"))
    _name_chunks: list[pa.Array] = field(default_factory=list[pa.Array])
    _property_chunks: list[pa.Array] = field(default_factory=list[pa.Array])

    def add(self, name: bytes, line: int, versions: int, properties: str | None) -> None:
        """Add one item."""
        self._names.append(name)
        self._lines.append(line)
        self._versions.append(versions)
        self._properties.append(properties)
        self._flush_if_full()

    def add_run(self, names: list[bytes], line: int, versions: int, properties: str | None) -> None:
        """Add items of lines that follow each other and say the same."""
        self._names += names
        self._lines.extend(range(line, line + len(names)))
        self._versions.extend([versions] * len(names))
        self._properties += [properties] * len(names)
        self._flush_if_full()

    def add_columns(
        self, names: pa.Array, line: int, versions: Int32s, properties: pa.Array
    ) -> None:
        """Add items of lines that follow each other; `properties` is dictionary-encoded."""
        self._flush()
        self._lines.extend(range(line, line + len(names)))
        self._versions.frombytes(np.ascontiguousarray(versions, np.int32).tobytes())
        self._name_chunks.append(names)
        self._property_chunks.append(properties)

    def _flush_if_full(self) -> None:
        if len(self._names) >= _ROWS_AT_ONCE:
            self._flush()

    def finish(self) -> Columns:
        """Return what was added."""
        self._flush()
        together = pa.chunked_array(self._property_chunks).unify_dictionaries().combine_chunks()
        return Columns(
            names=pa.chunked_array(self._name_chunks, pa.binary()),
            lines=np.array(self._lines, np.int32),
            versions=np.array(self._versions, np.int32),
            properties=codes(together.indices),
            texts=together.dictionary,
        )

    def _flush(self) -> None:
        self._name_chunks.append(binaries(self._names, pa.binary()))
        self._property_chunks.append(optional_strings(self._properties).dictionary_encode())
        self._names.clear()
        self._properties.clear()


def read_lines(stream: BinaryIO, texts: Texts, builder: ColumnsBuilder) -> list[tuple[int, int]]:
    """Read the lines of `valohai.metadata.jsonl` into `builder`; faulty ones are left out.

    Returns:
        Line and versions' number of each line whose `file` is null: it declares a version and
        names no file of it.
    """
    without_file: list[tuple[int, int]] = []
    for block in read_blocks(stream):
        with suppress(ValueError):  # no JSON by itself: told line by line, below
            if (cut := cut_alike(block.text)) is not None:
                _add_cut(cut, block.line, texts, builder)
                continue
        for number, line in block.numbered():
            try:
                name, parsed = _read_line(line, number, texts)
            except ValueError as error:
                texts.findings.fault(f"{where_line(number)}: {error}")
                continue
            if name:
                builder.add(name, number, *parsed)
            elif parsed.versions:
                without_file.append((number, parsed.versions))
    return without_file


def _add_cut(cut: Cut, line: int, texts: Texts, builder: ColumnsBuilder) -> None:
    """Add the lines of a block; raises `ValueError` where a text is no JSON object by itself."""
    numbers_of_texts = codes(cut.texts.indices).astype(np.int64)
    _, first = np.unique(numbers_of_texts, return_index=True)
    distinct: list[bytes] = cut.texts.dictionary.to_pylist()
    parsed = texts.read_many(distinct, (first + line).tolist())
    versions = np.array([one.versions for one in parsed], np.int32)
    properties = optional_strings([one.properties for one in parsed]).dictionary_encode()
    builder.add_columns(
        cut.names, line, versions[numbers_of_texts], take(properties, numbers_of_texts)
    )


class Block(NamedTuple):
    """Whole lines, of which the first has the number `line`."""

    line: int
    text: bytes

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines with their numbers, less those that are blank or the word `null`."""
        for number, line in enumerate(self.text.split(b"\n"), self.line):
            if line and line.strip() not in {b"", b"null"}:
                yield number, line


class Run(NamedTuple):
    """Lines that differ in the file's name alone.

    Attributes:
        before: What stands before each name.
        names: The names.
        between: What stands between a name and the text.
        text: The metadata of each line.
        after: What stands behind the text, the end of the line included.
    """

    before: bytes
    names: list[bytes]
    between: bytes
    text: bytes
    after: bytes


def read_blocks(stream: BinaryIO) -> Iterator[Block]:
    """Yield all lines, many at once, without a byte order mark."""
    number = 1
    while text := stream.read(_BLOCK_BYTES):
        whole = text + stream.readline()
        yield Block(number, whole.removeprefix(_BYTE_ORDER_MARK) if number == 1 else whole)
        number += whole.count(b"\n")


def cut_block(block: Block) -> Run | None:
    """Return the lines of a block as a run, if they are one.

    What is left when a block is cut at all that two lines share are the names. If none has a
    quote, a backslash or the end of a line in it, the block is these names in these lines.
    """
    match = LINE.fullmatch(block.text, 0, block.text.find(b"\n") + 1)
    if match is None:
        return None
    before, between, text, after = match[1] + b'"', b'"' + match[3], match[4], match[5]
    end = between + text + after
    if not block.text.endswith(end):
        return None
    cut = block.text[len(before) : -len(end)].split(end + before)
    if b"" in cut or any(mark in b"/".join(cut) for mark in (b'"', b"\\", b"\n")):
        return None
    return Run(before, cut, between, text, after)


def cut_line(line: bytes) -> tuple[bytes, bytes] | None:
    """Return the file's path and the text of its metadata, where the line has the usual form."""
    if (match := LINE.fullmatch(line)) is None:
        return None
    token = match[2]
    if b"\\" not in token:
        return token[1:-1], match[4]
    try:
        return path_bytes(json.loads(token)), match[4]
    except ValueError:
        return None


def path_bytes(path: str) -> bytes:
    """Return a path's bytes; half a surrogate pair, which no path has, is kept as it is."""
    return path.encode(errors="surrogatepass")


def find_rows(names: pa.ChunkedArray, paths: pa.ChunkedArray) -> Int32s:
    """Return the row of each name among `paths`, -1 where it is not among them."""
    if not len(names):
        return np.zeros(0, np.int32)  # no need to index a million paths
    own = paths.cast(pa.binary())
    if names.equals(own):  # one line for each file, in path order, as `write_metadata` has them
        return np.arange(len(own), dtype=np.int32)
    return codes(pc.index_in(names, value_set=own))


def _read_line(line: bytes, number: int, texts: Texts) -> tuple[bytes, Parsed]:
    """Return what a line says: path (empty for none), versions' number, JSON of the other keys."""
    if (cut := cut_line(line)) is not None and cut[0]:
        try:
            return cut[0], texts.read(cut[1], number)
        except ValueError:
            pass  # the text is no JSON by itself; the whole line may be
    body = texts.parse(line, number)
    if body is None:
        return b"", Parsed(0, None)
    if not isinstance(body, dict):
        raise ValueError("not an object with `file` and `metadata`")  # noqa: TRY004 (faulty data)
    said = cast("dict[str, object]", body)
    name = said.get("file", "")
    if name is not None and (not isinstance(name, str) or not name):
        raise ValueError("has no `file`")
    if "metadata" not in said:
        raise ValueError("has no `metadata`")
    return path_bytes(name or ""), texts.take(said["metadata"], by_sidecar=False)
