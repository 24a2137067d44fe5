"""Reads packages that others made: any zip of stored and deflated members, trusting nothing in it.

Only the end of the zip and its directory are read to list it; the local headers when contents are
wanted. Everything that is wrong is one `IntegrityError` that names the member.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np

from prefect_datasets.core.errors import IntegrityError
from prefect_datasets.core.format.zip_directory import (
    ENCRYPTED,
    PATCHED,
    TAIL_BYTES,
    Data,
    Int64s,
    Members,
    find_directory,
    parse_directory,
)
from prefect_datasets.core.format.zip_fields import (
    DEFLATED,
    LOCAL_HEADER,
    UTF8_NAME,
    FieldError,
    parse_extra,
    zip64_values,
)

# Returns so many bytes from an offset on: `read_range(start, length)`.
ReadRange: TypeAlias = Callable[[int, int], Data]

_DESCRIPTOR = 1 << 3
_SAME_FLAGS = ENCRYPTED | PATCHED | _DESCRIPTOR | UTF8_NAME
_MAX_HEADER_BYTES = LOCAL_HEADER.size + 2 * 0xFFFF
_INFLATE_BYTES = 1 << 20

# Local headers nearer to each other than this are read together, up to so many bytes at once.
_NEAR_BYTES = 1 << 15
_READ_BYTES = 1 << 23


def read_members(read_range: ReadRange, n_bytes: int, *, key: str) -> Members:
    """Read the directory of the package of `n_bytes` stored at `key`.

    Raises:
        IntegrityError: It is no zip, is damaged or ambiguous, or has a member that is neither
            stored nor deflated, encrypted, a link, or called what no file of a version may be.
    """
    start = max(0, n_bytes - TAIL_BYTES)
    try:
        tail = bytes(_exactly(read_range, start, n_bytes - start))
        place = find_directory(tail, start)
        if place.offset >= start:
            data: Data = tail[place.offset - start :][: place.n_bytes]
        else:
            data = _exactly(read_range, place.offset, place.n_bytes)
        return parse_directory(data, place)
    except FieldError as error:
        raise _unreadable(error, key) from error


def data_offsets(
    read_range: ReadRange, members: Members, *, key: str, indices: Iterable[int] | None = None
) -> Int64s:
    """Return where the content of each member (or of those at `indices`) begins.

    Reads their local headers and checks that they say what the directory says.

    Raises:
        IntegrityError: A local header is damaged or says something else.
    """
    chosen = np.arange(len(members)) if indices is None else np.array([*indices], dtype=np.int64)
    found = np.zeros(len(chosen), dtype=np.int64)
    try:
        for rows in _neighbours(members, chosen):
            begins, ends = _header_extents(members, chosen[rows])
            start = int(begins[0])
            data = _exactly(read_range, start, int(ends.max()) - start)
            for row, begin, end in zip(rows, begins.tolist(), ends.tolist(), strict=True):
                header = data[begin - start : end - start]
                found[row] = begin + _header_bytes(header, members, int(chosen[row]))
    except FieldError as error:
        raise _unreadable(error, key) from error
    return found


def member_data_range(
    read_range: ReadRange, members: Members, index: int, *, key: str
) -> tuple[int, int]:
    """Return where the content of one member begins and how many bytes it takes there.

    Raises:
        IntegrityError: Its local header is damaged or says something else than the directory.
    """
    (start,) = data_offsets(read_range, members, key=key, indices=[index])
    return int(start), int(members.stored_sizes[index])


def read_member(read_range: ReadRange, members: Members, index: int, *, key: str) -> Iterator[Data]:
    """Yield the content of one member in pieces of a few MiB, its checksum checked at the end.

    Raises:
        IntegrityError: It is damaged.
    """
    where = f"{key}, member {members.paths[index].as_py()!r}"
    start, n_bytes = member_data_range(read_range, members, index, key=key)
    pieces = _pieces(read_range, start, n_bytes, key=key)
    if members.methods[index] == DEFLATED:
        pieces = inflate(pieces, size=int(members.sizes[index]), key=where)
    crc32 = 0
    for piece in pieces:
        crc32 = zlib.crc32(piece, crc32)
        yield piece
    if crc32 != members.crc32s[index]:
        raise _unreadable(FieldError("its checksum is wrong"), where)


def inflate(pieces: Iterable[Data], *, size: int, key: str) -> Iterator[bytes]:
    """Yield the content of a deflated member in pieces of a MiB at most.

    Args:
        pieces: Its bytes in the package, cut anywhere.
        size: How many bytes must come out; never more than one above it are produced.
        key: What to name in errors.

    Raises:
        IntegrityError: The bytes are damaged, or become more or fewer than `size`.
    """
    try:
        yield from _inflated(pieces, size)
    except (zlib.error, FieldError) as error:
        raise _unreadable(error, key) from error


def _inflated(pieces: Iterable[Data], size: int) -> Iterator[bytes]:
    """Yield what the pieces inflate to, as long as that is no more than `size` bytes."""
    engine, left = zlib.decompressobj(-zlib.MAX_WBITS), size
    for piece in pieces:
        rest, limit, out = piece, 0, b""
        while rest or len(out) == limit:  # a full piece: there may be more inside the engine
            limit = min(_INFLATE_BYTES, left + 1)
            out = engine.decompress(rest, limit)
            rest, left = engine.unconsumed_tail, left - len(out)
            if left < 0:
                raise FieldError("it inflates to more than its size")
            if engine.unused_data:
                raise FieldError("something follows its content")
            if out:
                yield out
    if left or not engine.eof:
        raise FieldError("it inflates to less than its size")


def _pieces(read_range: ReadRange, start: int, n_bytes: int, *, key: str) -> Iterator[Data]:
    try:
        for at in range(start, start + n_bytes, _READ_BYTES):
            yield _exactly(read_range, at, min(_READ_BYTES, start + n_bytes - at))
    except FieldError as error:
        raise _unreadable(error, key) from error


def _neighbours(members: Members, chosen: Int64s) -> Iterator[list[int]]:
    """Group rows of `chosen` whose local headers are worth reading together."""
    rows = np.argsort(members.header_offsets[chosen], kind="stable").tolist()
    begins, ends = (extents.tolist() for extents in _header_extents(members, chosen))
    group: list[int] = []
    for row in rows:
        if group and (
            begins[row] > ends[group[-1]] + _NEAR_BYTES
            or ends[row] > begins[group[0]] + _READ_BYTES
        ):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _header_extents(members: Members, indices: Int64s) -> tuple[Int64s, Int64s]:
    """Return where the local headers begin and, at the latest, end."""
    begins = members.header_offsets[indices]
    room = members.ends[indices] - members.stored_sizes[indices] - begins
    return begins, begins + np.minimum(room, _MAX_HEADER_BYTES)


def _header_bytes(header: Data, members: Members, index: int) -> int:
    """Return how long a local header is, after comparing it with its member's entry."""
    signature, _, flags, method, _, _, crc32, stored_size, size, n_name, n_extra = (
        LOCAL_HEADER.unpack_from(header)
    )
    end = LOCAL_HEADER.size + n_name + n_extra
    name = header[LOCAL_HEADER.size : LOCAL_HEADER.size + n_name]
    same = (
        signature == b"PK\3\4"
        and end <= len(header)
        and name == members.names[index].as_py()
        and method == members.methods[index]
        and not (flags ^ int(members.flags[index])) & _SAME_FLAGS
    )
    if same:
        fields = parse_extra(bytes(header[end - n_extra : end]))
        found = [crc32, *zip64_values([size, stored_size], fields)]
        expected = [members.crc32s[index], members.sizes[index], members.stored_sizes[index]]
        # With a descriptor behind the content, what was not yet known is zero.
        same = all(
            value == wanted or (value == 0 and flags & _DESCRIPTOR)
            for value, wanted in zip(found, expected, strict=True)
        )
    if not same:
        path = members.paths[index].as_py()
        raise FieldError(f"member {path!r}: its local header and the directory differ")
    return end


def _exactly(read_range: ReadRange, start: int, length: int) -> Data:
    """Read so many bytes, or raise."""
    data = read_range(start, length) if length else b""
    if len(data) != length:
        raise FieldError("it is cut off")
    return data


def _unreadable(error: Exception, key: str) -> IntegrityError:
    return IntegrityError(
        f"Not a package that can be read ({error})",
        subject=key,
        hint="Make it again as a plain zip of files, stored or deflated.",
    )
