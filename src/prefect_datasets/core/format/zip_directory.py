"""Reads the end records and the directory of a zip that others made, and refuses what is unclear.

What different tools would unpack differently is refused: a package means one thing or is none.
Every fault is a `FieldError`; `zip_reader` says it with the package's key.
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.format.tables import is_unsafe, path_faults
from prefect_datasets.core.format.zip_entry import ENTRY
from prefect_datasets.core.format.zip_fields import (
    ALL_ONES_16,
    ALL_ONES_32,
    DEFLATED,
    END,
    LOCAL_HEADER,
    STORED,
    UNICODE_NAME_FIELD,
    UTF8_NAME,
    ZIP64_END,
    ZIP64_LOCATOR,
    FieldError,
    decoded_name,
    parse_extra,
    zip64_values,
)

Int64s: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Entries: TypeAlias = npt.NDArray[Any]
Data: TypeAlias = bytes | bytearray | memoryview
_Extras: TypeAlias = dict[int, dict[int, bytes]]

# The end record, the longest comment after it, and the ZIP64 records before it.
TAIL_BYTES = END.size + 0xFFFF + ZIP64_LOCATOR.size + ZIP64_END.size

ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
PATCHED = 1 << 5

_NEWEST_VERSION = 63
_UNIX_HOSTS = (3, 19)
_DOS_FOLDER = 0x10
# Deflate can't do better: a member that says so lies about its size.
_MAX_RATIO = 1032
_GATHER_ROWS = 1 << 16
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Members:
    """The files in a package, in path order; folders are left out.

    Attributes:
        paths: Their paths, checked by `tables.path_faults`.
        sizes: Their sizes in bytes.
        stored_sizes: How many bytes each takes in the package: fewer or more if it is deflated.
        crc32s: Checksums of their contents, not yet checked.
        methods: `zip_fields.STORED` or `DEFLATED`.
        flags: Their general purpose flags.
        header_offsets: Where each local header begins.
        ends: Where each ends at the latest: at the next one or at the directory.
        names: Their names as they stand in the package, as bytes.
    """

    paths: pa.Array
    sizes: Int64s
    stored_sizes: Int64s
    crc32s: npt.NDArray[np.uint32]
    methods: npt.NDArray[np.uint16]
    flags: npt.NDArray[np.uint16]
    header_offsets: Int64s
    ends: Int64s
    names: pa.Array

    def __len__(self) -> int:
        return len(self.paths)


class Place(NamedTuple):
    """Where the directory lies and how many entries it has."""

    offset: int
    n_bytes: int
    n_entries: int


class _Sizes(NamedTuple):
    """The fields that may stand in a ZIP64 field."""

    sizes: Int64s
    stored_sizes: Int64s
    offsets: Int64s


def find_directory(tail: bytes, start: int) -> Place:
    """Read the end records in the last `TAIL_BYTES` of a zip, which begin at `start`."""
    at = _find_end(tail)
    _, disk, first_disk, here, n_entries, n_bytes, offset, _ = END.unpack_from(tail, at)
    found, end = Place(offset, n_bytes, n_entries), start + at
    if (zip64 := _zip64_end(tail, start, at)) is not None:
        _check_same(found, zip64)
        found, end = zip64, end - ZIP64_LOCATOR.size - ZIP64_END.size
    if disk or first_disk or here != n_entries:
        raise FieldError("it is spread over several files")
    if found.offset + found.n_bytes != end:
        raise FieldError("its directory is not where its end record says")
    if found.n_entries * ENTRY.itemsize > found.n_bytes:
        raise FieldError("its directory is too small for its members")
    return found


def parse_directory(data: Data, place: Place) -> Members:
    """Read the directory's entries and check what they say."""
    positions = _entry_positions(data, place.n_entries)
    entries = _fixed_parts(data, positions)
    names = _names(data, entries)
    extras = _extras(data, positions, entries, names)
    values = _sizes(entries, names, extras)
    _check_values(values, entries, names, place.offset)
    ends = _ends(values.offsets, place.offset)
    _check_overlaps(values, entries, names, ends)
    paths = _paths(entries, names, extras)
    is_folder = pc.ends_with(paths, "/").to_numpy(zero_copy_only=False)
    _check_kinds(entries, values, names, is_folder)
    order = _files_in_order(paths, is_folder)
    return Members(
        paths=paths.take(order),
        sizes=values.sizes[order],
        stored_sizes=values.stored_sizes[order],
        crc32s=entries["crc32"][order],
        methods=entries["method"][order],
        flags=entries["flags"][order],
        header_offsets=values.offsets[order],
        ends=ends[order],
        names=names.take(order),
    )


def _find_end(tail: bytes) -> int:
    """Return where the end record lies: the one that ends, with its comment, where the zip ends."""
    last = at = tail.rfind(b"PK\5\6")
    found: list[int] = []
    while at >= 0:
        if at + END.size <= len(tail):
            (comment_bytes,) = struct.unpack_from("<H", tail, at + END.size - 2)
            found += [at] * (at + END.size + comment_bytes == len(tail))
        at = tail.rfind(b"PK\5\6", 0, at + 3)
    if not found:
        raise FieldError("it has no end record: cut off, or no zip")
    if found != [last]:
        raise FieldError("it has more than one end record")
    return last


def _zip64_end(tail: bytes, start: int, end: int) -> Place | None:
    """Read the ZIP64 end record: it stands before its locator, and that before the end record."""
    at = end - ZIP64_LOCATOR.size
    if at < 0 or tail[at : at + 4] != b"PK\6\7":
        return None
    _, disk, offset, n_disks = ZIP64_LOCATOR.unpack_from(tail, at)
    at -= ZIP64_END.size
    if at < 0 or disk or n_disks > 1 or offset != start + at:
        raise FieldError("its ZIP64 end record is not where its locator says")
    signature, size, _, _, *counts = ZIP64_END.unpack_from(tail, at)
    disk, first_disk, here, n_entries, n_bytes, offset = counts
    if signature != b"PK\6\6" or size != ZIP64_END.size - 12:
        raise FieldError("its ZIP64 end record is damaged")
    if disk or first_disk or here != n_entries:
        raise FieldError("it is spread over several files")
    return Place(offset, n_bytes, n_entries)


def _check_same(short: Place, long: Place) -> None:
    """Raise unless the end record's fields are all ones or what the ZIP64 one says."""
    same = [
        short.offset in (ALL_ONES_32, long.offset),
        short.n_bytes in (ALL_ONES_32, long.n_bytes),
        short.n_entries in (ALL_ONES_16, long.n_entries),
    ]
    if not all(same):
        raise FieldError("its two end records differ")


def _entry_positions(data: Data, n_entries: int) -> Int64s:
    """Return where each entry begins; they fill the directory exactly."""
    positions, at, last = np.zeros(n_entries, dtype=np.int64), 0, len(data) - ENTRY.itemsize
    lengths = struct.Struct("<3H").unpack_from
    for row in range(n_entries):
        if at > last:
            raise FieldError("its directory is cut off")
        positions[row] = at
        at += ENTRY.itemsize + sum(lengths(data, at + 28))
    if at != len(data):
        raise FieldError("its directory is longer or shorter than its members need")
    return positions


def _fixed_parts(data: Data, positions: Int64s) -> Entries:
    """Return the entries without names, extra fields and comments."""
    entries = np.zeros(len(positions), dtype=ENTRY)
    octets = np.frombuffer(data, dtype=np.uint8)
    for start in range(0, len(positions), _GATHER_ROWS):
        rows = positions[start : start + _GATHER_ROWS, None]
        found = octets[rows + np.arange(ENTRY.itemsize)]
        entries[start : start + len(rows)] = found.view(ENTRY)[:, 0]
    if (entries["signature"] != b"PK\1\2").any():
        raise FieldError("its directory is damaged")
    return entries


def _names(data: Data, entries: Entries) -> pa.Array:
    """Return the names as they stand there, as a binary column."""
    lengths = entries["name_bytes"].astype(np.int64)
    others = entries["extra_bytes"].astype(np.int64) + entries["comment_bytes"]
    runs = np.stack([np.full(len(entries), ENTRY.itemsize), lengths, others], axis=1).ravel()
    in_name = np.repeat(np.tile([False, True, False], len(entries)), runs)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.frombuffer(data, np.uint8)[in_name])]
    return pa.Array.from_buffers(pa.large_binary(), len(entries), buffers)


def _extras(data: Data, positions: Int64s, entries: Entries, names: pa.Array) -> _Extras:
    """Return the extra fields of the entries that have any, by row."""
    rows = np.flatnonzero(entries["extra_bytes"])
    starts = positions[rows] + ENTRY.itemsize + entries["name_bytes"][rows]
    ends = starts + entries["extra_bytes"][rows]
    found: _Extras = {}
    for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
        try:
            found[row] = parse_extra(bytes(data[start:end]))
        except FieldError as error:
            raise _member_fault(names, row, str(error)) from error
    return found


def _sizes(entries: Entries, names: pa.Array, extras: _Extras) -> _Sizes:
    """Return sizes and offsets, from the ZIP64 fields where these are needed."""
    fields = ("size", "stored_size", "offset")
    values = np.stack([entries[name].astype(np.int64) for name in fields])
    for row in np.flatnonzero((values == ALL_ONES_32).any(axis=0)).tolist():
        try:
            values[:, row] = zip64_values(values[:, row].tolist(), extras.get(row, {}))
        except FieldError as error:
            raise _member_fault(names, row, str(error)) from error
    return _Sizes(*values)


def _ends(offsets: Int64s, directory_offset: int) -> Int64s:
    """Return where the next member begins after each."""
    order = np.argsort(offsets, kind="stable")
    ends = np.full(len(offsets), directory_offset, dtype=np.int64)
    ends[order[:-1]] = offsets[order[1:]]
    return ends


def _check_values(values: _Sizes, entries: Entries, names: pa.Array, end: int) -> None:
    """Raise unless every entry is of a kind that is read here, and its sizes can be."""
    methods, stored_sizes = entries["method"], values.stored_sizes
    _refuse(entries["flags"] & ENCRYPTED, names, "it is encrypted")
    _refuse(entries["flags"] & PATCHED, names, "it is a patch")
    _refuse(~np.isin(methods, (STORED, DEFLATED)), names, "it is neither stored nor deflated")
    _refuse((entries["needs"] & 0xFF) > _NEWEST_VERSION, names, "it needs a newer kind of zip")
    _refuse(entries["disk"], names, "it lies in another file")
    _refuse(stored_sizes > end, names, "it is cut off")
    _refuse((methods == STORED) & (values.sizes != stored_sizes), names, "its two sizes differ")
    bombs = values.sizes // _MAX_RATIO > stored_sizes
    _refuse(bombs, names, "it says it inflates to more than deflate can hold")


def _check_overlaps(values: _Sizes, entries: Entries, names: pa.Array, ends: Int64s) -> None:
    """Raise where a member would have to reach into the next one or into the directory."""
    needed = LOCAL_HEADER.size + entries["name_bytes"].astype(np.int64) + values.stored_sizes
    _refuse(values.offsets > ends - needed, names, "it overlaps another one")


def _paths(entries: Entries, names: pa.Array, extras: _Extras) -> pa.Array:
    """Return the names as text."""
    text = names.view(pa.large_string())
    ascii_only = pc.string_is_ascii(text).to_numpy(zero_copy_only=False)
    renamed = any(UNICODE_NAME_FIELD in fields for fields in extras.values())
    if not renamed and (ascii_only | (entries["flags"] & UTF8_NAME > 0)).all():
        try:
            text.validate(full=True)
            return text.cast(pa.string())
        except pa.ArrowInvalid:
            pass  # the loop finds out which one
    flags = entries["flags"].tolist()
    decoded: list[str] = []
    for row, name in enumerate(names.to_pylist()):
        try:
            decoded.append(decoded_name(name, flags[row], extras.get(row, {})))
        except FieldError as error:
            raise _member_fault(names, row, str(error)) from error
    return pa.array(decoded, pa.string())


def _check_kinds(entries: Entries, values: _Sizes, names: pa.Array, is_folder: Mask) -> None:
    """Raise for links and devices, and where name, attributes and size contradict each other."""
    hosts = entries["made_by"] >> 8
    kinds = (entries["external"] >> 16) & 0o170000
    says_folder = (kinds == stat.S_IFDIR) | (entries["external"] & _DOS_FOLDER > 0)
    _refuse(kinds == stat.S_IFLNK, names, "it is a link")
    known = np.isin(kinds, (0, stat.S_IFREG, stat.S_IFDIR))
    _refuse(~known, names, "it is a device, pipe or socket")
    _refuse(says_folder & ~is_folder, names, "it is a folder with a file's name")
    _refuse((kinds == stat.S_IFREG) & is_folder, names, "it is a file with a folder's name")
    _refuse(is_folder & (values.sizes > 0), names, "it is a folder with content")
    backslash = pc.match_substring(names, b"\\").to_numpy(zero_copy_only=False)
    foreign = ~np.isin(hosts, _UNIX_HOSTS)
    _refuse(foreign & backslash, names, "its name has a backslash, and it was not made on Unix")


def _files_in_order(paths: pa.Array, is_folder: Mask) -> Int64s:
    """Return the rows of the files in path order, all names checked."""
    files = np.flatnonzero(~is_folder)
    order = files[pc.sort_indices(paths.take(files)).to_numpy()]
    folders = pc.utf8_slice_codeunits(paths.filter(is_folder), 0, -1)
    faults = path_faults(paths.take(order))
    faults += [
        f"not a relative path: {p!r}" for p in folders.filter(is_unsafe(folders)).to_pylist()
    ]
    both = paths.filter(pc.and_(pc.is_in(paths, value_set=folders), pa.array(~is_folder)))
    faults += [f"both a file and a folder: {path!r}" for path in both.to_pylist()]
    if faults:
        raise FieldError("; ".join(faults[:_MOST_NAMED]))
    return order


def _refuse(mask: npt.NDArray[Any], names: pa.Array, why: str) -> None:
    """Raise for the first member that `mask` tells of."""
    if mask.any():
        raise _member_fault(names, int(np.flatnonzero(mask)[0]), why)


def _member_fault(names: pa.Array, row: int, why: str) -> FieldError:
    return FieldError(f"member {names[row].as_py().decode(errors='backslashreplace')!r}: {why}")
