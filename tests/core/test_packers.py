"""Processes that fill pieces: the same bytes and errors as without them, and none stays behind."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from prefect_datasets.core.errors import InvalidInputError, SourceChangedError
from prefect_datasets.core.format.local_header import local_header
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.publish import pack
from prefect_datasets.core.publish.fill import Batch
from prefect_datasets.core.publish.packers import Packers
from prefect_datasets.core.publish.publish import publish_directory
from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri

FILES = {"a": b"first", "b/c": b"", "b/ü.jpg": os.urandom(70_000)}
MODES = pytest.mark.parametrize("n_processes", [0, 1, 2])


def int64s(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little", signed=True) for value in values)


def batch_of(root: Path) -> tuple[Batch, bytes]:
    """Write `FILES` below `root`; return how to read them and the piece that must come of it."""
    piece, starts, modified = b"", list[int](), list[int]()
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        starts.append(len(piece))
        modified.append(path.stat().st_mtime_ns)
        piece += local_header(name.encode(), len(content), zlib.crc32(content)) + content
    names = "\0".join(FILES).encode()
    sizes = int64s(*map(len, FILES.values()))
    batch = Batch(f"{root}/".encode(), names, sizes, int64s(*modified), int64s(*starts), True)
    return batch, piece


@MODES
def test_pieces_are_filled_and_hashed(tmp_path: Path, n_processes: int) -> None:
    batch, piece = batch_of(tmp_path)
    with Packers(n_processes, 2, len(piece)) as packers:
        sha256s = b"".join(hashlib.sha256(content).digest() for content in FILES.values())
        crc32s = [zlib.crc32(content).to_bytes(4, sys.byteorder) for content in FILES.values()]
        for _ in range(3):
            with packers.buffer() as one, packers.buffer() as other:
                assert one.start != other.start
                for buffer in (one, other):
                    found = packers.fill(buffer, len(piece), batch)
                    assert found == (sha256s, b"".join(crc32s))
                assert one.view[: len(piece)] == other.view[: len(piece)] == piece


@MODES
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda path: path.write_bytes(b"longer"), SourceChangedError),
        (lambda path: path.write_bytes(b"less"), SourceChangedError),
        (lambda path: os.utime(path, (1, 1)), SourceChangedError),
        (lambda path: path.unlink(), SourceChangedError),
        (lambda path: (path.unlink(), path.symlink_to(path)), InvalidInputError),
    ],
    ids=["longer", "shorter", "written", "vanished", "unreadable"],
)
def test_a_file_that_is_not_what_it_was_is_named(
    tmp_path: Path, n_processes: int, change: Callable[[Path], object], error: type[Exception]
) -> None:
    batch, piece = batch_of(tmp_path)
    change(tmp_path / "a")
    with (
        Packers(n_processes, 1, len(piece)) as packers,
        packers.buffer() as buffer,
        pytest.raises(error, match=f"{tmp_path}/a"),
    ):
        packers.fill(buffer, len(piece), batch)


def children() -> list[int]:
    """Return the packers that this process has started."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in map(int, found) if "publish.packer" in command_of(pid)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""


def test_a_killed_process_is_done_without(tmp_path: Path) -> None:
    batch, piece = batch_of(tmp_path)
    with Packers(1, 1, len(piece)) as packers, packers.buffer() as buffer:
        packers.fill(buffer, len(piece), batch)
        [pid] = children()
        os.kill(pid, signal.SIGKILL)
        for _ in range(2):
            buffer.view[:] = bytes(len(buffer.view))
            packers.fill(buffer, len(piece), batch)
            assert buffer.view[: len(piece)] == piece
    assert children() == []


_HOLD = """
import sys, time
from prefect_datasets.core.publish.packers import Packers
with Packers(2, 2, 1000) as packers:
    print("there", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(end: signal.Signals) -> None:
    command = [sys.executable, "-c", _HOLD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"there\n"
        pids = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        assert len(pids) == 2
        holder.send_signal(end)
        holder.wait(20)
    until = time.monotonic() + 20
    while left := [pid for pid in map(int, pids) if "publish.packer" in command_of(pid)]:
        assert time.monotonic() < until, left
        time.sleep(0.05)


def test_a_package_is_the_same_with_and_without_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, packages = tmp_path / "out", list[bytes]()
    root.mkdir()
    for number in range(300):
        (root / f"{number}").write_bytes(os.urandom(number * 7))
    for least in (1, 1_000):
        monkeypatch.setattr(pack, "_LEAST_FILES", least)
        store = open_store(str(tmp_path / f"store{least}"))
        declared = VersionDeclaration(DatasetUri("pets", "v1"), packaging=True)
        [record] = publish_directory(root, store=store, to=[declared])
        packages.append(store.read(record.packages[0].key))
    assert packages[0] == packages[1]
