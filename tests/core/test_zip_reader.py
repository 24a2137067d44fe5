"""The reader takes what others made, and agrees with Python's zipfile or says what is wrong."""

from __future__ import annotations

import io
import stat
import struct
import tracemalloc
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datasets.core.errors import IntegrityError
from prefect_datasets.core.format import local_header, package, zip_directory, zip_reader

from . import zips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


@given(files=zips.files(), compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_zips_of_pythons_are_read(files: zips.Files, compression: int) -> None:
    assert list(read_all(zips.zipped(files, compression=compression)).items()) == [*files.items()]


@given(files=zips.files())
def test_packages_of_ours_are_read(files: zips.Files) -> None:
    assert list(read_all(zips.build(files)).items()) == [*files.items()]


def test_members_come_in_path_order_and_folders_are_left_out() -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as writer:
        writer.writestr("z", b"last")
        writer.writestr("d/", b"")
        writer.writestr("d/e/", b"")
        writer.writestr("d/e/f", b"first")
    members = members_of(sink.getvalue())
    assert members.paths.to_pylist() == ["d/e/f", "z"]
    assert members.sizes.tolist() == [5, 4]
    assert members.crc32s.tolist() == [zlib.crc32(b"first"), zlib.crc32(b"last")]
    assert list(read_all(sink.getvalue()).values()) == [b"first", b"last"]


def test_zips_written_to_a_pipe_are_read() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.written = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: Any, /) -> int:
            self.written += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as writer:  # type: ignore[arg-type]
        for path, data in FILES.items():
            writer.writestr(path, data)
    assert members_of(bytes(pipe.written)).flags.tolist()[0] & 8
    assert read_all(bytes(pipe.written)) == FILES


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("7z", ["a", "-tzip", "{}", "."]),
        ("7z", ["a", "-tzip", "-mx=0", "{}", "."]),
        ("bsdtar", ["-c", "--format", "zip", "-f", "{}", "a", "b", "z"]),
        (
            "bsdtar",
            ["-c", "--format", "zip", "--options", "compression=store", "-f", "{}", "a", "b", "z"],
        ),
    ],
)
def test_zips_of_other_tools_are_read(command: str, args: list[str], tmp_path: Path) -> None:
    tree, file = tmp_path / "tree", tmp_path / "theirs.zip"
    for path, data in FILES.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    zips.run(zips.tool(command), *(arg.format(file) for arg in args), cwd=tree)
    assert read_all(file.read_bytes()) == FILES


def test_names_without_a_mark_are_of_code_page_437() -> None:
    data = _named(b"\x81.txt", flags=0)
    assert members_of(data).paths.to_pylist() == ["ü.txt"] == list(zips.unzipped(data))


def test_the_field_with_the_unicode_name_counts() -> None:
    extra = struct.pack("<HHBI", 0x7075, 5 + 3, 1, zlib.crc32(b"_")) + "日".encode()
    assert members_of(_named(b"_", flags=0, extra=extra)).paths.to_pylist() == ["日"]
    with pytest.raises(IntegrityError, match="it has two names"):
        members_of(_named(b"-", flags=0, extra=extra))


@pytest.mark.parametrize("n_files", [65_535, 66_000])
def test_many_members_are_read(n_files: int) -> None:
    files = {zips.alphabet_path(n): b"." for n in range(n_files)}
    for data in (zips.build(files), zips.zipped(files)):
        members, read = members_of(data), Reads(data)
        assert members.paths.to_pylist() == list(files)
        starts = zip_reader.data_offsets(read, members, key=KEY)
        assert {data[start] for start in starts.tolist()} == {ord(".")}


def test_a_large_member_is_read(tmp_path: Path) -> None:
    file, size = tmp_path / "large.zip", (1 << 32) + 1
    paths, sizes, crc32s = pa.array(["large", "small"]), [size, 5], [0, zlib.crc32(b"after")]
    plan = package.layout(paths, sizes)
    with file.open("wb") as out:
        out.write(local_header.local_header(b"large", size, 0))
        out.seek(plan.header_offsets[1])
        out.write(local_header.local_header(b"small", 5, crc32s[1]) + b"after")
        out.write(package.directory(paths, sizes, crc32s, plan.header_offsets))
    with file.open("rb") as stored:

        def read(start: int, length: int) -> bytes:
            stored.seek(start)
            return stored.read(length)

        members = zip_reader.read_members(read, plan.n_bytes, key=KEY)
        assert members.sizes.tolist() == sizes
        assert members.header_offsets.tolist() == plan.header_offsets.tolist()
        offsets = zip_reader.data_offsets(read, members, key=KEY)
        assert offsets.tolist() == plan.data_offsets.tolist()
        assert b"".join(zip_reader.read_member(read, members, 1, key=KEY)) == b"after"


def test_listing_takes_one_read_and_a_large_directory_two() -> None:
    few = Reads(zips.build(FILES))
    zip_reader.read_members(few, len(few.data), key=KEY)
    assert few.count == 1
    many = Reads(zips.build({zips.alphabet_path(n): b"" for n in range(5000)}))
    members = zip_reader.read_members(many, len(many.data), key=KEY)
    assert many.count == 2
    zip_reader.data_offsets(many, members, key=KEY)
    assert many.count == 3
    zip_reader.member_data_range(many, members, 7, key=KEY)
    assert many.count == 4


# What is wrong, and how it is made: each takes a zip of FILES apart.


def _named(
    name: bytes, *, flags: int = 0x800, extra: bytes = b"", attributes: int = 0, host: int = 3
) -> bytes:
    """Make a zip of one empty member called exactly so."""
    sizes = (0, 0, 0, len(name), len(extra))
    local = struct.pack("<4s5H3I2H", LOCAL, 20, flags, 0, 0, 33, *sizes) + name + extra
    head = (host << 8 | 20, 20, flags, 0, 0, 33)
    entry = struct.pack("<4s6H3I5H2I", ENTRY, *head, *sizes, 0, 0, 0, attributes, 0) + name + extra
    end = struct.pack("<4s4H2IH", END, 0, 0, 1, 1, len(entry), len(local), 0)
    return local + entry + end


def _patched(at: bytes, skip: int, new: bytes, *, base: bytes | None = None) -> bytes:
    """Overwrite bytes behind the first occurrence of a signature."""
    data = bytearray(zips.zipped(FILES) if base is None else base)
    start = data.index(at) + skip
    data[start : start + len(new)] = new
    return bytes(data)


def _both(skip: int, new: bytes, *, base: bytes | None = None) -> bytes:
    """Overwrite a field of the first member in its local header and in the directory."""
    return _patched(ENTRY, skip + 2, new, base=_patched(LOCAL, skip, new, base=base))


def _twice() -> bytes:
    return zips.zipped({"a": b"1", "b": b"2"}).replace(b"b", b"a")


def _with_mode(mode: int) -> bytes:
    return _named(b"a", attributes=mode << 16)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "absolute": (lambda: _named(b"/etc/passwd"), "not a relative path: '/etc/passwd'"),
    "parent": (lambda: _named(b"a/../../b"), "not a relative path"),
    "parent first": (lambda: _named(b"../b"), "not a relative path"),
    "dot": (lambda: _named(b"./b"), "not a relative path"),
    "empty part": (lambda: _named(b"a//b"), "not a relative path"),
    "no name": (lambda: _named(b""), "not a relative path"),
    "control": (lambda: _named(b"a\nb"), r"not a relative path: 'a\\nb'"),
    "nul": (lambda: _named(b"a\0b"), "not a relative path"),
    "folder above": (lambda: _named(b"../b/"), "not a relative path"),
    "not utf-8": (lambda: _named(b"\xff"), r"member '\\\\xff': its name is not UTF-8"),
    "backslash": (lambda: _named(b"..\\b", host=0), "backslash"),
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
    "encrypted": (lambda: _both(6, b"\1\0"), "member 'a': it is encrypted"),
    "strongly encrypted": (lambda: _both(6, b"\x40\0"), "it is encrypted"),
    "patch": (lambda: _both(6, b"\x20\0"), "it is a patch"),
    "bzip2": (
        lambda: zips.zipped(FILES, compression=zipfile.ZIP_BZIP2),
        "neither stored nor deflated",
    ),
    "lzma": (
        lambda: zips.zipped(FILES, compression=zipfile.ZIP_LZMA),
        "neither stored nor deflated",
    ),
    "newer": (lambda: _patched(ENTRY, 6, b"\x40"), "newer kind of zip"),
    "two sizes": (lambda: _both(22, b"\2\0\0\0"), "its two sizes differ"),
    "bomb": (
        lambda: _both(22, b"\xff\xff\xff\x7f", base=zips.zipped(FILES, compression=8)),
        "more than deflate",
    ),
    "too large": (lambda: _patched(ENTRY, 20, b"\xff\xff\xff\x7f" * 2), "it is cut off"),
    "overlap": (lambda: _patched(ENTRY, 42, struct.pack("<I", 33)), "overlaps another one"),
    "other disk": (lambda: _patched(ENTRY, 34, b"\1"), "lies in another file"),
    "no zip64 field": (lambda: _patched(ENTRY, 24, b"\xff" * 4), "ZIP64 field is missing"),
    "fewer entries": (lambda: _patched(END, 8, b"\3\0\3\0"), "longer or shorter"),
    "more entries": (
        lambda: _patched(END, 8, b"\2\0\2\0", base=zips.build({"n" * 60: b""})),
        "directory is cut off",
    ),
    "two counts": (lambda: _patched(END, 8, b"\3\0"), "spread over several files"),
    "far too many": (lambda: _patched(END, 8, b"\xff\xff\xff\xff"), "too small for its members"),
    "moved directory": (lambda: _patched(END, 16, b"\1"), "not where its end record says"),
    "something before": (
        lambda: b"#!/bin/sh\n" + zips.zipped(FILES),
        "not where its end record says",
    ),
    "something after": (lambda: zips.zipped(FILES) + b"\n", "no end record"),
    "two ends": (
        lambda: _patched(END, 20, b"\x16\0", base=zips.zipped(FILES) + zips.build({})),
        "more than one end",
    ),
    "empty": (lambda: b"", "no end record"),
    "no zip": (lambda: b"hello" * 100, "no end record"),
    "damaged entry": (lambda: _patched(ENTRY, 0, b"?"), "its directory is damaged"),
    "damaged extra": (
        lambda: _named(b"a", extra=b"\x75\x70\xff\0"),
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
    data = _patched(LOCAL, skip, new)
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
            members_of(_patched(at, skip, new, base=data))


def _deflated(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


@given(data=st.binary(max_size=100) | st.just(bytes(3_000_000)), cut=st.integers(1, 5000))
@settings(max_examples=50)
def test_inflate_gives_the_content_however_it_is_cut(data: bytes, cut: int) -> None:
    stored = _deflated(data)
    pieces = [stored[at : at + cut] for at in range(0, len(stored), cut)]
    found = list(zip_reader.inflate(pieces, size=len(data), key=KEY))
    assert b"".join(found) == data
    assert all(0 < len(piece) <= 1 << 20 for piece in found)


@pytest.mark.parametrize(
    ("stored", "size"),
    [
        (_deflated(b"hello"), 4),
        (_deflated(b"hello"), 6),
        (_deflated(b"hello")[:-1], 5),
        (_deflated(b"hello") + b"x", 5),
        (_deflated(b""), 1),
        (b"", 0),
        (b"\xff\xff", 5),
    ],
)
def test_inflate_refuses_what_has_another_size(stored: bytes, size: int) -> None:
    for pieces in ([stored], [stored[:3], stored[3:]]):
        with pytest.raises(IntegrityError):
            list(zip_reader.inflate(pieces, size=size, key=KEY))


def test_inflate_does_not_produce_a_bomb() -> None:
    stored = _deflated(bytes(200_000_000))
    tracemalloc.start()
    with pytest.raises(IntegrityError, match="more than its size"):
        list(zip_reader.inflate([stored], size=1000, key=KEY))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


# Fuzzing: whatever is done to a zip, either zipfile reads the same or it is refused.

SEEDS = [
    zips.build(FILES),
    zips.zipped(FILES),
    zips.zipped(FILES, compression=zipfile.ZIP_DEFLATED),
    zips.zipped({"d/": b"", **FILES}),
    _named("ü".encode()),
    _named(b"a", extra=struct.pack("<2H2Q", 1, 16, 0, 0)),
]
_BYTES = st.sampled_from(
    [b"\0", b"\xff", b"\xff" * 4, b"\1\0", b"PK\5\6", b"PK\6\7", b".", b"/", b"\\"]
)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        # Most of a zip is content; the records are where it can go wrong.
        if draw(st.booleans()):
            found = data.find(draw(st.sampled_from([LOCAL, ENTRY, END])), at)
            at = max(found, 0) + draw(st.integers(0, 50))
        new = draw(_BYTES | st.binary(min_size=1, max_size=4))
        kind = draw(st.sampled_from(["change", "change", "change", "insert", "remove", "cut"]))
        match kind:
            case "change":
                data[at : at + len(new)] = new
            case "insert":
                data[at:at] = new
            case "remove":
                del data[at : at + len(new)]
            case _:
                del data[at:]
    return bytes(data)


@given(data=_mutated())
@settings(max_examples=400)
def test_a_mutated_zip_is_read_as_zipfile_does_or_refused(data: bytes) -> None:
    try:
        found = read_all(data)
    except IntegrityError:
        return
    assert found == zips.unzipped(data)


@given(data=st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: b + zips.build({})))
def test_any_bytes_are_read_as_zipfile_does_or_refused(data: bytes) -> None:
    try:
        found = read_all(data)
    except IntegrityError:
        return
    assert found == zips.unzipped(data)


def test_the_tail_that_is_read_reaches_the_zip64_records_behind_the_longest_comment() -> None:
    assert zip_directory.TAIL_BYTES == 56 + 20 + 22 + 65_535
