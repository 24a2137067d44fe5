"""The reader takes what others made, and agrees with Python's zipfile or refuses it."""

from __future__ import annotations

import io
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
    from pathlib import Path
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
    data = named(b"\x81.txt", flags=0)
    assert members_of(data).paths.to_pylist() == ["ü.txt"] == list(zips.unzipped(data))


def test_the_field_with_the_unicode_name_counts() -> None:
    extra = struct.pack("<HHBI", 0x7075, 5 + 3, 1, zlib.crc32(b"_")) + "日".encode()
    assert members_of(named(b"_", flags=0, extra=extra)).paths.to_pylist() == ["日"]
    with pytest.raises(IntegrityError, match="it has two names"):
        members_of(named(b"-", flags=0, extra=extra))


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
    named("ü".encode()),
    named(b"a", extra=struct.pack("<2H2Q", 1, 16, 0, 0)),
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
