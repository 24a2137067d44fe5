"""The bytes of a package: where each member goes and what stands around it.

A package is a zip of stored members in path order without gaps. Where anything lies follows from
paths and sizes alone, so every offset is known before a byte is read and the pieces of an upload
can be made in any order. `docs/format.md` has the byte table.

    local header, content      one after the other for each member
    directory                  one entry for each member, then the end records

A local header does not depend on where it stands: a run of members (headers and contents) can be
copied from one package to another as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_datasets.core import compute as pc
from prefect_datasets.core.columns import binaries, bool_array, numbers
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format.local_header import (
    LOCAL_BYTES,
    LOCAL_ZIP64_FIELD,
    MIDNIGHT,
    NEEDS_STORED,
    NEEDS_ZIP64,
    ON_1980_01_01,
    local_header_bytes,
)
from prefect_datasets.core.format.zip_entry import ENTRY
from prefect_datasets.core.format.zip_fields import (
    ALL_ONES_16,
    ALL_ONES_32,
    END,
    STORED,
    UTF8_NAME,
    ZIP64_END,
    ZIP64_FIELD,
    ZIP64_LOCATOR,
)

Int64s = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer[Any]] | pa.Array | pa.ChunkedArray | Sequence[int]
Strings = pa.Array | pa.ChunkedArray

MAX_NAME_BYTES = 0xFFFF

_MADE_BY = 3 << 8 | NEEDS_ZIP64  # Unix
_REGULAR_0644 = 0o100644 << 16

_EXTRA_START = np.dtype([("id", "<u2"), ("n_bytes", "<u2")])
_EMPTY = binaries([b""], pa.binary())[0]
# Members per piece of the directory: a few MB.
_PIECE_MEMBERS = 1 << 16


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies in a package, in bytes from its start.

    Attributes:
        header_offsets: Begin of each member's local header.
        data_offsets: Begin of each member's content.
        directory_offset: Begin of the directory, which is the end of the last member.
        n_bytes: Size of the whole package.
    """

    header_offsets: Int64s
    data_offsets: Int64s
    directory_offset: int
    n_bytes: int


def layout(paths: Strings, sizes: Integers) -> Layout:
    """Lay out a package of the files at `paths`, in this order, with `sizes` in bytes.

    Raises:
        InvalidInputError: A path has more bytes than a zip can hold.
    """
    n_bytes = _int64s(sizes)
    names = _name_lengths(paths)
    large = n_bytes >= ALL_ONES_32
    headers = LOCAL_BYTES + names + large * LOCAL_ZIP64_FIELD.size
    ends = np.cumsum(headers + n_bytes, dtype=np.int64)
    header_offsets = np.zeros(len(ends), dtype=np.int64)
    header_offsets[1:] = ends[:-1]
    directory_offset = int(ends[-1]) if len(ends) else 0
    directory_bytes = int(_entry_lengths(names, large, header_offsets >= ALL_ONES_32).sum())
    end = _end_records(len(ends), directory_offset, directory_bytes)
    return Layout(
        header_offsets=header_offsets,
        data_offsets=header_offsets + headers,
        directory_offset=directory_offset,
        n_bytes=directory_offset + directory_bytes + len(end),
    )


def directory(paths: Strings, sizes: Integers, crc32s: Integers, header_offsets: Integers) -> bytes:
    """Return the directory and the end records of a package, all that follows the members.

    The members are given in the order in which they lie, as `layout` placed them.
    """
    return b"".join(directory_pieces(paths, sizes, crc32s, header_offsets))


def directory_pieces(
    paths: Strings, sizes: Integers, crc32s: Integers, header_offsets: Integers
) -> Iterator[bytes | memoryview]:
    """Yield what `directory` returns piece by piece, so that it need not be in memory at once."""
    names, n_bytes, offsets = _binary(paths), _int64s(sizes), _int64s(header_offsets)
    crcs = np.asarray(crc32s, dtype=np.uint32)
    lengths = _name_lengths(paths)
    for start in range(0, len(names), _PIECE_MEMBERS):
        cut = slice(start, start + _PIECE_MEMBERS)
        piece = names.slice(start, _PIECE_MEMBERS)
        yield _entries(piece, lengths[cut], n_bytes[cut], crcs[cut], offsets[cut])
    directory_offset = 0
    if len(names):
        header = local_header_bytes(names[-1].as_py(), int(n_bytes[-1]))
        directory_offset = int(offsets[-1]) + header + int(n_bytes[-1])
    entries = _entry_lengths(lengths, n_bytes >= ALL_ONES_32, offsets >= ALL_ONES_32)
    yield _end_records(len(names), directory_offset, int(entries.sum()))


def _entries(
    names: pa.Array, lengths: Int64s, sizes: Int64s, crc32s: npt.NDArray[np.uint32], offsets: Int64s
) -> memoryview:
    """Return the directory entries of a few members."""
    large, far = sizes >= ALL_ONES_32, offsets >= ALL_ONES_32
    entries = np.zeros(len(names), dtype=ENTRY)
    entries["signature"] = b"PK\1\2"
    entries["made_by"] = _MADE_BY
    entries["needs"] = np.where(large | far, NEEDS_ZIP64, NEEDS_STORED)
    entries["flags"] = UTF8_NAME
    entries["method"] = STORED
    entries["time"] = MIDNIGHT
    entries["date"] = ON_1980_01_01
    entries["crc32"] = crc32s
    entries["stored_size"] = entries["size"] = np.minimum(sizes, ALL_ONES_32)
    entries["name_bytes"] = lengths
    entries["extra_bytes"] = _extra_lengths(large, far)
    entries["external"] = _REGULAR_0644
    entries["offset"] = np.minimum(offsets, ALL_ONES_32)
    columns = [_records(entries), names]
    if (large | far).any():
        columns += _extra_fields(large, far, sizes, offsets)
    return _joined(columns)


def _extra_fields(
    large: npt.NDArray[np.bool_], far: npt.NDArray[np.bool_], sizes: Int64s, offsets: Int64s
) -> list[pa.Array]:
    """Return the ZIP64 field of each member as columns to join: its start, sizes and offset."""
    starts = np.zeros(len(sizes), dtype=_EXTRA_START)
    starts["id"] = ZIP64_FIELD
    starts["n_bytes"] = np.maximum(_extra_lengths(large, far) - _EXTRA_START.itemsize, 0)
    return [
        _where(large | far, starts),
        _where(large, np.stack([sizes, sizes], axis=1).astype("<i8").view("V16")[:, 0]),
        _where(far, offsets.astype("<i8")),
    ]


def _where(mask: npt.NDArray[np.bool_], records: npt.NDArray[Any]) -> pa.Array:
    """Return the bytes of each record where `mask` is set, and no bytes elsewhere."""
    return pc.if_else(bool_array(mask), _records(records), _EMPTY)


def _records(records: npt.NDArray[Any]) -> pa.Array:
    """Return the records' bytes as a binary column, without a loop."""
    width = records.dtype.itemsize
    ends = np.arange(0, (len(records) + 1) * width, width, dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(records))]
    return pa.Array.from_buffers(pa.binary(), len(records), buffers)


def _joined(columns: list[pa.Array]) -> memoryview:
    """Return the bytes of all columns, row by row."""
    joined = pc.binary_join_element_wise(*columns, _EMPTY)
    _, ends, values = joined.buffers()
    end = np.frombuffer(ends, dtype=np.int32)[joined.offset + len(joined)]
    return memoryview(values)[:end]


def _end_records(n_members: int, directory_offset: int, directory_bytes: int) -> bytes:
    """Return the end record, with the ZIP64 one and its locator before it where they are needed."""
    end = END.pack(
        b"PK\5\6",
        0,
        0,
        min(n_members, ALL_ONES_16),
        min(n_members, ALL_ONES_16),
        min(directory_bytes, ALL_ONES_32),
        min(directory_offset, ALL_ONES_32),
        0,
    )
    if n_members < ALL_ONES_16 and max(directory_offset, directory_bytes) < ALL_ONES_32:
        return end
    zip64 = ZIP64_END.pack(
        b"PK\6\6",
        ZIP64_END.size - 12,
        _MADE_BY,
        NEEDS_ZIP64,
        0,
        0,
        n_members,
        n_members,
        directory_bytes,
        directory_offset,
    )
    locator = ZIP64_LOCATOR.pack(b"PK\6\7", 0, directory_offset + directory_bytes, 1)
    return zip64 + locator + end


def _entry_lengths(
    names: Int64s, large: npt.NDArray[np.bool_], far: npt.NDArray[np.bool_]
) -> Int64s:
    return ENTRY.itemsize + names + _extra_lengths(large, far)


def _extra_lengths(large: npt.NDArray[np.bool_], far: npt.NDArray[np.bool_]) -> Int64s:
    """Return the length of each entry's ZIP64 field: both sizes, the offset, both or nothing."""
    values = large * np.int64(16) + far * np.int64(8)
    return values + (values > 0) * np.int64(_EXTRA_START.itemsize)


def _name_lengths(paths: Strings) -> Int64s:
    lengths = _int64s(pc.binary_length(paths))
    if len(lengths) and lengths.max() > MAX_NAME_BYTES:
        longest = paths[int(lengths.argmax())].as_py()
        raise InvalidInputError(
            f"A path has more than {MAX_NAME_BYTES} bytes",
            subject=longest[:80] + "...",
            hint="Use shorter names.",
        )
    return lengths


def _binary(paths: Strings) -> pa.Array:
    """Return the paths as one binary array."""
    if isinstance(paths, pa.ChunkedArray):
        paths = paths.combine_chunks()
    return paths.cast(pa.binary())


def _int64s(values: Integers) -> Int64s:
    if isinstance(values, np.ndarray | Sequence):
        return np.asarray(values, dtype=np.int64)
    return numbers(values.cast(pa.int64()))
