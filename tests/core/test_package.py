"""Packages are plain zips: every tool reads them, whatever the names, the sizes and the number."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format import local_header, package

from . import zips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT = 0xFFFFFFFF


@given(files=zips.files())
def test_zipfile_reads_what_went_in(files: zips.Files) -> None:
    assert zips.unzipped(zips.build(files)) == files


@given(files=zips.files())
def test_offsets_are_where_zipfile_finds_the_members(files: zips.Files) -> None:
    plan = package.layout(pa.array(files, pa.string()), [len(data) for data in files.values()])
    data = zips.build(files)
    with zipfile.ZipFile(io.BytesIO(data)) as reader:
        assert [info.header_offset for info in reader.infolist()] == plan.header_offsets.tolist()
        assert reader.start_dir == plan.directory_offset
    for start, content in zip(plan.data_offsets.tolist(), files.values(), strict=True):
        assert data[start : start + len(content)] == content


def test_every_member_is_a_plain_file_of_1980() -> None:
    with zipfile.ZipFile(io.BytesIO(zips.build(zips.ODD_FILES))) as reader:
        for info in reader.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr == 0o100644 << 16
            assert (info.create_system, info.extract_version) == (3, 10)
            assert (info.flag_bits, info.compress_type) == (0x800, zipfile.ZIP_STORED)
            assert (info.extra, info.comment, info.internal_attr) == (b"", b"", 0)


def test_an_empty_package_is_an_end_record() -> None:
    assert zips.build({}) == b"PK\5\6" + bytes(18)


def test_a_directory_made_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = zips.build(zips.ODD_FILES)
    monkeypatch.setattr(package, "_PIECE_MEMBERS", 3)
    assert zips.build(zips.ODD_FILES) == whole


def test_columns_may_be_chunked_and_sliced() -> None:
    paths = pa.array(["a", "b", "ü", "ü/x"])
    args: list[Any] = [[1, 2, 3], [4, 5, 6], [0, 40, 80]]
    expected = package.directory(paths[1:], *args)
    chunked = pa.chunked_array([paths[1:2], paths[2:]])
    assert package.directory(chunked, *(pa.chunked_array([arg]) for arg in args)) == expected
    assert package.layout(chunked, args[0]).n_bytes == package.layout(paths[1:], args[0]).n_bytes


def test_headers_are_packed_in_place() -> None:
    buffer = bytearray(b"?" * 200)
    for size in (7, LIMIT):
        end = local_header.pack_header_into(buffer, 10, b"a/b", size, 99)
        assert buffer[10:end] == local_header.local_header(b"a/b", size, 99)
        assert end - 10 == local_header.local_header_bytes(b"a/b", size)
    assert buffer[:10] == b"?" * 10
    assert buffer[end:] == b"?" * (200 - end)


def test_a_path_too_long_for_a_zip_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="65535 bytes"):
        package.layout(pa.array(["x" * 65_536]), [0])


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1])
def test_large_members_and_far_ones(size: int, tmp_path: Path) -> None:
    file = _sparse(tmp_path, ["large", "small"], [size, 5])
    with zipfile.ZipFile(file) as reader:
        large, small = reader.infolist()
        assert (large.file_size, large.compress_size) == (size, size)
        assert large.extract_version == (10 if size < LIMIT else 45)
        assert small.extract_version == 45
        assert reader.read("small") == b"small"
        with reader.open("large") as member:
            assert member.read(10) == bytes(10)


@pytest.mark.parametrize("offset", [LIMIT - 1, LIMIT])
def test_the_offset_that_needs_zip64_is_exact(offset: int, tmp_path: Path) -> None:
    size = offset - local_header.local_header_bytes(b"large", 0)
    file = _sparse(tmp_path, ["large", "small"], [size, 5])
    with zipfile.ZipFile(file) as reader:
        assert reader.getinfo("small").header_offset == offset
        assert reader.getinfo("small").extract_version == (10 if offset < LIMIT else 45)
        assert reader.read("small") == b"small"


@pytest.mark.parametrize(
    ("command", "args"),
    [("unzip", ["-tq", "{}", "small"]), ("7z", ["t", "{}", "small"]), ("bsdtar", ["-tf", "{}"])],
)
def test_tools_read_zip64_sizes_and_offsets(command: str, args: list[str], tmp_path: Path) -> None:
    file = _sparse(tmp_path, ["large", "small"], [LIMIT + 1, 5])
    zips.run(zips.tool(command), *(arg.format(file) for arg in args))


@pytest.mark.parametrize("n_files", [65_534, 65_535, 65_536])
def test_many_members(n_files: int, tmp_path: Path) -> None:
    file = _many(tmp_path, n_files)
    with zipfile.ZipFile(file) as reader:
        assert len(reader.namelist()) == n_files
        assert reader.read(zips.alphabet_path(n_files - 1)) == b"."
    assert (b"PK\6\6" in file.read_bytes()) == (n_files > 65_534)


@pytest.mark.parametrize(
    ("command", "args"),
    [("unzip", ["-tqq", "{}"]), ("7z", ["t", "{}"]), ("bsdtar", ["-tf", "{}"])],
)
def test_tools_read_many_members(command: str, args: list[str], tmp_path: Path) -> None:
    file = _many(tmp_path, 65_536)
    zips.run(zips.tool(command), *(arg.format(file) for arg in args))


def _by_unzip(file: Path, out: Path) -> None:
    zips.run(zips.tool("unzip"), "-tq", file)
    zips.run(zips.tool("unzip"), "-q", file, "-d", out)


def _by_7z(file: Path, out: Path) -> None:
    assert "Everything is Ok" in zips.run(zips.tool("7z"), "t", file)
    zips.run(zips.tool("7z"), "x", file, f"-o{out}")


def _by_bsdtar(file: Path, out: Path) -> None:
    out.mkdir()
    zips.run(zips.tool("bsdtar"), "-xPf", file, "-C", out)  # -P: c: is no drive


def _by_fsspec(file: Path, out: Path) -> None:
    filesystem: Any = fsspec.filesystem("zip", fo=str(file))
    for path in filesystem.find("/"):
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(filesystem.cat_file(path))


@pytest.mark.parametrize("extract", [_by_unzip, _by_7z, _by_bsdtar, _by_fsspec])
def test_tools_extract_what_went_in(extract: Callable[[Path, Path], None], tmp_path: Path) -> None:
    files = dict(zips.ODD_FILES)
    if extract is _by_bsdtar:
        del files["back\\slash"]  # legal, but libarchive makes it a folder: docs/format.md says so
    file = tmp_path / "my-images.train-v1.vhpkgzip"
    file.write_bytes(zips.build(files))
    out = tmp_path / "out"
    extract(file, out)
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert found == files


def test_7z_finds_no_fault_in_odd_names(tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    file.write_bytes(zips.build(zips.ODD_FILES))
    text = zips.run(zips.tool("7z"), "t", file)
    assert f"Files: {len(zips.ODD_FILES)}\n" in text
    assert "Warning" not in text


def test_rclone_lists_a_package(tmp_path: Path) -> None:
    if not (rclone := _rclone()):
        pytest.skip("rclone has no archive backend here")
    file = tmp_path / "x.zip"
    file.write_bytes(zips.build({"a/b.txt": b"hello", "c": b""}))
    text = zips.run(
        rclone, "--config", os.devnull, "lsjson", "-R", "--files-only", f":archive:{file}"
    )
    assert {row["Path"]: row["Size"] for row in json.loads(text)} == {"a/b.txt": 5, "c": 0}
    text = zips.run(rclone, "--config", os.devnull, "cat", f":archive:{file}/a/b.txt")
    assert text == "hello"


def test_a_million_members_are_laid_out_at_once(tmp_path: Path) -> None:
    n_files = 1_000_000
    paths = pa.array([f"{n:07d}" for n in range(n_files)])
    plan = package.layout(paths, np.full(n_files, 10_240))
    header_bytes = local_header.local_header_bytes(b"0000000", 10_240)
    assert plan.header_offsets[-1] == (n_files - 1) * (header_bytes + 10_240)
    assert plan.directory_offset == n_files * (header_bytes + 10_240)


def _sparse(folder: Path, paths: list[str], sizes: list[int]) -> Path:
    """Make a package with holes for contents, but the last, which is the path itself."""
    file = folder / "sparse.zip"
    plan = package.layout(pa.array(paths), sizes)
    last = paths[-1].encode()
    crc32s = [*(0 for _ in paths[:-1]), zlib.crc32(last)]
    with file.open("wb") as out:
        rows = zip(paths, sizes, crc32s, plan.header_offsets.tolist(), strict=True)
        for path, size, crc32, offset in rows:
            out.seek(offset)
            out.write(local_header.local_header(path.encode(), size, crc32))
        out.write(last)
        assert out.tell() == plan.directory_offset
        out.write(package.directory(pa.array(paths), sizes, crc32s, plan.header_offsets))
        assert out.tell() == plan.n_bytes
    return file


def _many(folder: Path, n_files: int) -> Path:
    file = folder / "many.zip"
    file.write_bytes(zips.build({zips.alphabet_path(n): b"." for n in range(n_files)}))
    return file


def _rclone() -> str:
    """Return where rclone is, if it can read archives: newer than Debian's."""
    try:
        found = zips.tool("rclone")
    except (pytest.fail.Exception, pytest.skip.Exception):
        return ""
    return found if "archive" in zips.run(found, "help", "backends") else ""
