"""What stands before a member's content in a package.

Light to import: the processes that pack need it, and neither numpy nor Arrow.
"""

from __future__ import annotations

import struct

from prefect_datasets.core.format.zip_fields import (
    ALL_ONES_32,
    LOCAL_HEADER,
    STORED,
    UTF8_NAME,
    ZIP64_FIELD,
)

NEEDS_STORED = 10
NEEDS_ZIP64 = 45
MIDNIGHT, ON_1980_01_01 = 0, 1 << 5 | 1

LOCAL_BYTES = LOCAL_HEADER.size
_LOCAL = struct.Struct("<14s3I2H")
_LOCAL_START = struct.pack(
    "<4s5H", b"PK\3\4", NEEDS_STORED, UTF8_NAME, STORED, MIDNIGHT, ON_1980_01_01
)
_LOCAL_ZIP64_START = struct.pack(
    "<4s5H", b"PK\3\4", NEEDS_ZIP64, UTF8_NAME, STORED, MIDNIGHT, ON_1980_01_01
)
LOCAL_ZIP64_FIELD = struct.Struct("<2H2Q")


def local_header(path: bytes, size: int, crc32: int) -> bytes:
    """Return what stands before the content of the member `path` (UTF-8)."""
    buffer = bytearray(local_header_bytes(path, size))
    pack_header_into(buffer, 0, path, size, crc32)
    return bytes(buffer)


def local_header_bytes(path: bytes, size: int) -> int:
    """Return how long the local header of such a member is."""
    return LOCAL_BYTES + len(path) + (LOCAL_ZIP64_FIELD.size if size >= ALL_ONES_32 else 0)


def pack_header_into(
    buffer: bytearray | memoryview, offset: int, path: bytes, size: int, crc32: int
) -> int:
    """Write a local header into `buffer` at `offset` and return where it ends."""
    start = offset + LOCAL_BYTES
    end = start + len(path)
    if size < ALL_ONES_32:
        _LOCAL.pack_into(buffer, offset, _LOCAL_START, crc32, size, size, len(path), 0)
        buffer[start:end] = path
        return end
    extra = LOCAL_ZIP64_FIELD
    _LOCAL.pack_into(
        buffer,
        offset,
        _LOCAL_ZIP64_START,
        crc32,
        ALL_ONES_32,
        ALL_ONES_32,
        len(path),
        extra.size,
    )
    buffer[start:end] = path
    extra.pack_into(buffer, end, ZIP64_FIELD, extra.size - 4, size, size)
    return end + extra.size
