"""The fixed records of a zip, as its specification (PKWARE's APPNOTE) lays them out."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# All ones in a field: the value stands in a ZIP64 field.
ALL_ONES_16 = 0xFFFF
ALL_ONES_32 = 0xFFFFFFFF

STORED, DEFLATED = 0, 8
UTF8_NAME = 1 << 11

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
ENTRY = np.dtype(
    [
        ("signature", "S4"),
        ("made_by", "<u2"),
        ("needs", "<u2"),
        ("flags", "<u2"),
        ("method", "<u2"),
        ("time", "<u2"),
        ("date", "<u2"),
        ("crc32", "<u4"),
        ("stored_size", "<u4"),
        ("size", "<u4"),
        ("name_bytes", "<u2"),
        ("extra_bytes", "<u2"),
        ("comment_bytes", "<u2"),
        ("disk", "<u2"),
        ("internal", "<u2"),
        ("external", "<u4"),
        ("offset", "<u4"),
    ]
)
ZIP64_END = struct.Struct("<4sQ2H2I4Q")
ZIP64_LOCATOR = struct.Struct("<4sIQI")
END = struct.Struct("<4s4H2IH")

ZIP64_FIELD = 0x0001
_UNICODE_NAME_FIELD = 0x7075
# Nothing that can be stored is larger, and sums of a few such numbers stay within 64 bits.
_MOST = 1 << 60


class FieldError(ValueError):
    """What is wrong with a zip; `zip_reader` says it with the package's key."""


def zip64_values(values: Sequence[int], extra: bytes) -> list[int]:
    """Return the values, those of all ones replaced by what the ZIP64 field in `extra` says."""
    fields = [data for field, data in _fields(extra) if field == ZIP64_FIELD]
    if ALL_ONES_32 not in values:
        return list(values)
    n_large = sum(value == ALL_ONES_32 for value in values)
    if len(fields) != 1 or len(fields[0]) < 8 * n_large:
        raise FieldError("its ZIP64 field is missing or damaged")
    large = iter(struct.unpack_from(f"<{n_large}Q", fields[0]))
    found = [next(large) if value == ALL_ONES_32 else value for value in values]
    if max(found) > _MOST:
        raise FieldError("its ZIP64 field is damaged")
    return found


def decoded_name(name: bytes, flags: int, extra: bytes) -> str:
    """Return a member's name: UTF-8 where it says so, as the specification has it elsewhere."""
    for field, data in _fields(extra):
        if field == _UNICODE_NAME_FIELD and not flags & UTF8_NAME:
            return _unicode_name(name, data)
    try:
        return name.decode("utf-8" if flags & UTF8_NAME else "cp437")
    except UnicodeDecodeError:
        raise FieldError("its name is not UTF-8") from None


def _unicode_name(name: bytes, data: bytes) -> str:
    """Read Info-ZIP's field with the real name, which holds a checksum of the other one."""
    if data[:5] != struct.pack("<BI", 1, zlib.crc32(name)):
        raise FieldError("it has two names")
    try:
        return data[5:].decode()
    except UnicodeDecodeError:
        raise FieldError("its name is not UTF-8") from None


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the id and the data of each extra field; up to three bytes of padding are let pass."""
    at = 0
    while at + 4 <= len(extra):
        field, n_bytes = struct.unpack_from("<2H", extra, at)
        if at + 4 + n_bytes > len(extra):
            raise FieldError("its extra fields are damaged")
        yield field, extra[at + 4 : at + 4 + n_bytes]
        at += 4 + n_bytes
