"""The fixed records of a zip, as its specification (PKWARE's APPNOTE) lays them out.

Light to import: the processes that pack need it, and neither numpy nor Arrow.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# All ones in a field: the value stands in a ZIP64 field.
ALL_ONES_16 = 0xFFFF
ALL_ONES_32 = 0xFFFFFFFF

STORED, DEFLATED = 0, 8
UTF8_NAME = 1 << 11

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
ZIP64_END = struct.Struct("<4sQ2H2I4Q")
ZIP64_LOCATOR = struct.Struct("<4sIQI")
END = struct.Struct("<4s4H2IH")

ZIP64_FIELD = 0x0001
UNICODE_NAME_FIELD = 0x7075
_READ_FIELDS = (ZIP64_FIELD, UNICODE_NAME_FIELD)
# Nothing that can be stored is larger, and sums of a few such numbers stay within 64 bits.
_MOST = 1 << 60


class FieldError(ValueError):
    """What is wrong with a zip; `zip_reader` says it with the package's key."""


def parse_extra(extra: bytes) -> dict[int, bytes]:
    """Return the extra fields by their id; up to three bytes of padding are let pass."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        field, n_bytes = struct.unpack_from("<2H", extra, at)
        if at + 4 + n_bytes > len(extra) or (field in fields and field in _READ_FIELDS):
            raise FieldError("its extra fields are damaged")
        fields[field] = extra[at + 4 : at + 4 + n_bytes]
        at += 4 + n_bytes
    return fields


def zip64_values(values: Sequence[int], fields: Mapping[int, bytes]) -> list[int]:
    """Return the values, those of all ones replaced by what the ZIP64 field says."""
    n_large = sum(value == ALL_ONES_32 for value in values)
    field = fields.get(ZIP64_FIELD, b"")
    if len(field) < 8 * n_large:
        raise FieldError("its ZIP64 field is missing or damaged")
    large = iter(struct.unpack_from(f"<{n_large}Q", field))
    found = [next(large) if value == ALL_ONES_32 else value for value in values]
    if max(found) > _MOST:
        raise FieldError("its ZIP64 field is damaged")
    return found


def decoded_name(name: bytes, flags: int, fields: Mapping[int, bytes]) -> str:
    """Return a member's name: UTF-8 where it says so, code page 437 elsewhere.

    Info-ZIP's field with the real name counts, if its checksum is that of the other name.
    """
    encoding = "utf-8" if flags & UTF8_NAME else "cp437"
    if (real := fields.get(UNICODE_NAME_FIELD)) is not None:
        if real[:5] != struct.pack("<BI", 1, zlib.crc32(name)):
            raise FieldError("it has two names")
        name, encoding = real[5:], "utf-8"
    try:
        return name.decode(encoding)
    except UnicodeDecodeError:
        raise FieldError("its name is not UTF-8") from None
