"""Zips of others: how they are made, and how their members are read."""

from __future__ import annotations

import struct

from prefect_datasets.core.format import zip_reader

from . import zips

KEY = "outputs/x/theirs.zip"
FILES = zips.in_order({"a": b"one", "b/c.txt": b"two" * 100, "b/ü": b"", "z": bytes(5000)})
END, ENTRY, LOCAL = b"PK\5\6", b"PK\1\2", b"PK\3\4"


class Reads:
    """Reads ranges of bytes and counts them."""

    def __init__(self, data: bytes) -> None:
        self.data, self.count = data, 0

    def __call__(self, start: int, length: int) -> bytes:
        assert start >= 0
        assert length > 0
        self.count += 1
        return self.data[start : start + length]


def members_of(data: bytes) -> zip_reader.Members:
    return zip_reader.read_members(Reads(data), len(data), key=KEY)


def read_all(data: bytes) -> zips.Files:
    """Read every member of a zip, whole and checked."""
    members, read = members_of(data), Reads(data)
    paths = members.paths.to_pylist()
    contents = (zip_reader.read_member(read, members, i, key=KEY) for i in range(len(paths)))
    return {path: b"".join(pieces) for path, pieces in zip(paths, contents, strict=True)}


def named(
    name: bytes, *, flags: int = 0x800, extra: bytes = b"", attributes: int = 0, host: int = 3
) -> bytes:
    """Make a zip of one empty member called exactly so."""
    sizes = (0, 0, 0, len(name), len(extra))
    local = struct.pack("<4s5H3I2H", LOCAL, 20, flags, 0, 0, 33, *sizes) + name + extra
    head = (host << 8 | 20, 20, flags, 0, 0, 33)
    entry = struct.pack("<4s6H3I5H2I", ENTRY, *head, *sizes, 0, 0, 0, attributes, 0) + name + extra
    end = struct.pack("<4s4H2IH", END, 0, 0, 1, 1, len(entry), len(local), 0)
    return local + entry + end
