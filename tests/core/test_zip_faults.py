"""What is wrong with a zip is named."""

from __future__ import annotations

import stat
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest

from prefect_datasets.core.errors import IntegrityError
from prefect_datasets.core.format import zip_reader

from . import zips

if TYPE_CHECKING:
    from collections.abc import Callable
from tests.core.foreign_zips import (
    END,
    ENTRY,
    FILES,
    KEY,
    LOCAL,
    Reads,
    members_of,
    named,
    read_all,
)


def patched(at: bytes, skip: int, new: bytes, *, base: bytes | None = None) -> bytes:
    """Overwrite bytes behind the first occurrence of a signature."""
    data = bytearray(zips.zipped(FILES) if base is None else base)
    start = data.index(at) + skip
    data[start : start + len(new)] = new
    return bytes(data)


def patched_twice(skip: int, new: bytes, *, base: bytes | None = None) -> bytes:
    """Overwrite a field of the first member in its local header and in the directory."""
    return patched(ENTRY, skip + 2, new, base=patched(LOCAL, skip, new, base=base))


def _twice() -> bytes:
    return zips.zipped({"a": b"1", "b": b"2"}).replace(b"b", b"a")


def _with_mode(mode: int) -> bytes:
    return named(b"a", attributes=mode << 16)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "absolute": (lambda: named(b"/etc/passwd"), "not a relative path: '/etc/passwd'"),
    "parent": (lambda: named(b"a/../../b"), "not a relative path"),
    "parent first": (lambda: named(b"../b"), "not a relative path"),
    "dot": (lambda: named(b"./b"), "not a relative path"),
    "empty part": (lambda: named(b"a//b"), "not a relative path"),
    "no name": (lambda: named(b""), "not a relative path"),
    "control": (lambda: named(b"a\nb"), r"not a relative path: 'a\\nb'"),
    "nul": (lambda: named(b"a\0b"), "not a relative path"),
    "folder above": (lambda: named(b"../b/"), "not a relative path"),
    "not utf-8": (lambda: named(b"\xff"), r"member '\\\\xff': its name is not UTF-8"),
    "backslash": (lambda: named(b"..\\b", host=0), "backslash"),
    "twice": (_twice, "out of order or twice: 'a'"),
    "file and folder": (
        lambda: zips.zipped({"a": b"", "a/b": b""}),
        "both a file and a folder: 'a'",
    ),
    "file and empty folder": (
        lambda: zips.zipped({"a/": b"", "a": b""}),
        "both a file and a folder: 'a'",
    ),
    "link": (lambda: _with_mode(stat.S_IFLNK | 0o777), "member 'a': it is a link"),
    "pipe": (lambda: _with_mode(stat.S_IFIFO | 0o644), "device, pipe or socket"),
    "folder as file": (lambda: _with_mode(stat.S_IFDIR | 0o755), "folder with a file's name"),
    "folder with content": (lambda: zips.zipped({"a/": b"x"}), "folder with content"),
    "encrypted": (lambda: patched_twice(6, b"\1\0"), "member 'a': it is encrypted"),
    "strongly encrypted": (lambda: patched_twice(6, b"\x40\0"), "it is encrypted"),
    "patch": (lambda: patched_twice(6, b"\x20\0"), "it is a patch"),
    "bzip2": (
        lambda: zips.zipped(FILES, compression=zipfile.ZIP_BZIP2),
        "neither stored nor deflated",
    ),
    "lzma": (
        lambda: zips.zipped(FILES, compression=zipfile.ZIP_LZMA),
        "neither stored nor deflated",
    ),
    "newer": (lambda: patched(ENTRY, 6, b"\x40"), "newer kind of zip"),
    "two sizes": (lambda: patched_twice(22, b"\2\0\0\0"), "its two sizes differ"),
    "bomb": (
        lambda: patched_twice(22, b"\xff\xff\xff\x7f", base=zips.zipped(FILES, compression=8)),
        "more than deflate",
    ),
    "too large": (lambda: patched(ENTRY, 20, b"\xff\xff\xff\x7f" * 2), "it is cut off"),
    "overlap": (lambda: patched(ENTRY, 42, struct.pack("<I", 33)), "overlaps another one"),
    "other disk": (lambda: patched(ENTRY, 34, b"\1"), "lies in another file"),
    "no zip64 field": (lambda: patched(ENTRY, 24, b"\xff" * 4), "ZIP64 field is missing"),
    "fewer entries": (lambda: patched(END, 8, b"\3\0\3\0"), "longer or shorter"),
    "more entries": (
        lambda: patched(END, 8, b"\2\0\2\0", base=zips.build({"n" * 60: b""})),
        "directory is cut off",
    ),
    "two counts": (lambda: patched(END, 8, b"\3\0"), "spread over several files"),
    "far too many": (lambda: patched(END, 8, b"\xff\xff\xff\xff"), "too small for its members"),
    "moved directory": (lambda: patched(END, 16, b"\1"), "not where its end record says"),
    "something before": (
        lambda: b"#!/bin/sh\n" + zips.zipped(FILES),
        "not where its end record says",
    ),
    "something after": (lambda: zips.zipped(FILES) + b"\n", "no end record"),
    "two ends": (
        lambda: patched(END, 20, b"\x16\0", base=zips.zipped(FILES) + zips.build({})),
        "more than one end",
    ),
    "empty": (lambda: b"", "no end record"),
    "no zip": (lambda: b"hello" * 100, "no end record"),
    "damaged entry": (lambda: patched(ENTRY, 0, b"?"), "its directory is damaged"),
    "damaged extra": (
        lambda: named(b"a", extra=b"\x75\x70\xff\0"),
        "member 'a': its extra fields are damaged",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case: str) -> None:
    make, reason = BAD[case]
    with pytest.raises(IntegrityError, match=reason) as caught:
        members_of(make())
    assert caught.value.subject == KEY


@pytest.mark.parametrize("n_bytes", [1, 10, 22, 40, 100])
def test_a_cut_zip_is_refused(n_bytes: int) -> None:
    data = zips.zipped(FILES)
    for cut in (data[:-n_bytes], data[n_bytes:]):
        with pytest.raises(IntegrityError):
            members_of(cut)


@pytest.mark.parametrize(
    ("skip", "new"),
    [
        (0, b"?"),
        (6, b"\x08"),
        (8, b"\x08"),
        (14, b"\1\1"),
        (18, b"\7"),
        (22, b"\7"),
        (26, b"\2"),
        (28, b"\xff\xff"),
        (30, b"b"),
    ],
)
def test_a_local_header_that_says_something_else_is_refused(skip: int, new: bytes) -> None:
    data = patched(LOCAL, skip, new)
    if skip == 6:  # claims a descriptor, which the directory does not know of
        assert data[6] == 8
    members = members_of(data)
    with pytest.raises(
        IntegrityError, match="member 'a': its local header and the directory differ"
    ):
        zip_reader.data_offsets(Reads(data), members, key=KEY)


def test_changed_content_is_noticed() -> None:
    data = zips.zipped({"a": b"hello"}).replace(b"hello", b"hallo")
    with pytest.raises(IntegrityError, match="checksum") as caught:
        read_all(data)
    assert "member 'a'" in caught.value.subject


def test_zip64_records_must_agree() -> None:
    data = zips.build({zips.alphabet_path(n): b"" for n in range(65_535)})
    for at, skip, new in [
        (b"PK\6\6", 4, b"\x2d"),
        (b"PK\6\6", 24, b"\1"),
        (b"PK\6\7", 8, b"\1"),
        (END, 12, b"\1"),
    ]:
        with pytest.raises(IntegrityError):
            members_of(patched(at, skip, new, base=data))
