"""What the tests of packages share: packages from contents, paths to try, tools that must agree."""

from __future__ import annotations

import io
import os
import shutil
import string
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import strategies as st

from prefect_datasets.core.format import local_header, package

if TYPE_CHECKING:
    from collections.abc import Mapping

Files = dict[str, bytes]

# Names that tools stumble over, all of them legal.
ODD_FILES: Files = {
    "-leading-dash": b"1",
    "a b/c d.txt": b"spaces",
    "a!b": b"sorts between a and a/b",
    "back\\slash": b"\\",
    "c:colon": b"",
    "deep/" * 40 + "file": b"deep",
    "häuser/日本語/🎉.txt": "ü".encode(),
    "n" * 255: b"as long as a name can be",
    "...": b"dots",
    "quote'\"`$(x)": b"shell",
}

_SEGMENTS = st.text(
    st.characters(codec="utf-8", exclude_characters="/\x7f", min_codepoint=32),
    min_size=1,
    max_size=6,
).filter(lambda name: name not in (".", ".."))
_PATHS = st.lists(_SEGMENTS | st.sampled_from(["a", "b", "a.b"]), min_size=1, max_size=3).map(
    "/".join
)


def _without_folders(files: Files) -> Files:
    return {path: data for path, data in files.items() if not _is_folder(path, files)}


def _is_folder(path: str, files: Mapping[str, bytes]) -> bool:
    return any(other.startswith(f"{path}/") for other in files)


def files(max_size: int = 6) -> st.SearchStrategy[Files]:
    """Files of a version: safe paths, none a folder of another, in path order."""
    contents = st.binary(max_size=40) | st.just(b"x" * 3000)
    some = st.dictionaries(_PATHS, contents, max_size=max_size).map(_without_folders)
    return some.map(in_order)


def in_order(contents: Files) -> Files:
    return dict(sorted(contents.items(), key=lambda item: item[0].encode()))


def build(contents: Files) -> bytes:
    """Make a package as a publisher does, member by member."""
    contents = in_order(contents)
    paths = pa.array(contents, pa.string())
    sizes = [len(data) for data in contents.values()]
    crc32s = [zlib.crc32(data) for data in contents.values()]
    plan = package.layout(paths, sizes)
    out = bytearray()
    for path, data in contents.items():
        out += local_header.local_header(path.encode(), len(data), zlib.crc32(data)) + data
    out += package.directory(paths, sizes, crc32s, plan.header_offsets)
    assert len(out) == plan.n_bytes
    return bytes(out)


def zipped(contents: Files, *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Make a zip with Python's own writer."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as writer:
        for path, data in contents.items():
            writer.writestr(path, data)
    return sink.getvalue()


def unzipped(data: bytes) -> Files:
    """Read a zip with Python's own reader."""
    with zipfile.ZipFile(io.BytesIO(data)) as reader:
        return {i.filename: reader.read(i) for i in reader.infolist() if not i.is_dir()}


def tool(name: str) -> str:
    """Return where a command is; CI must have it, a developer may not."""
    if found := shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"):
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a tool that must succeed and return what it prints."""
    done = subprocess.run(
        command, check=False, capture_output=True, cwd=cwd, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    text = done.stdout.decode(errors="replace")
    assert done.returncode == 0, text + done.stderr.decode(errors="replace")
    return text


def alphabet_path(n: int) -> str:
    """Return the n-th of many short paths in order."""
    return f"{string.ascii_lowercase[n // 10_000]}/{n:06d}"
