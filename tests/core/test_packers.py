"""Processes that fill pieces: the same bytes and errors as without them, and none stays behind."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from prefect_datasets.core.errors import InvalidInputError, SourceChangedError, StoreError
from prefect_datasets.core.format.local_header import local_header
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.publish import fill, pack
from prefect_datasets.core.publish.fill import Batch
from prefect_datasets.core.publish.packers import Packers
from prefect_datasets.core.publish.plan_version import Policy
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
    return [pid for pid in map(int, found) if is_packer(pid)]


def is_packer(pid: int) -> bool:
    try:
        return b"-S\0-c" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


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


@MODES
@pytest.mark.parametrize("buffer_bytes", [1, 20, 512 << 10])
def test_pieces_are_written_where_they_belong(
    tmp_path: Path, n_processes: int, buffer_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, piece = batch_of(tmp_path)
    monkeypatch.setattr(fill, "_WRITE_BYTES", buffer_bytes)
    store = open_store(str(tmp_path / "store"))
    with Packers(n_processes, 1, len(piece)) as packers, packers.buffer() as buffer:
        filled = packers.fill(buffer, len(piece), batch)
    with (
        store.upload("twice", 2 * len(piece)) as upload,
        Packers(n_processes, 1, len(piece)) as packers,
    ):
        for index in (1, 0):
            written = packers.write(upload, index, index * len(piece), len(piece), batch)
            assert written == filled
        upload.complete()
    assert store.read("twice") == 2 * piece


def test_a_process_killed_before_it_writes_is_done_without(tmp_path: Path) -> None:
    batch, piece = batch_of(tmp_path)
    store = open_store(str(tmp_path / "store"))
    with store.upload("one", len(piece)) as upload, Packers(1, 1, len(piece)) as packers:
        packers.write(upload, 0, 0, len(piece), batch)
        [pid] = children()
        os.kill(pid, signal.SIGKILL)
        packers.write(upload, 0, 0, len(piece), batch)
        upload.complete()
    assert store.read("one") == piece


def test_what_a_process_can_t_write_is_written_by_who_asked(tmp_path: Path) -> None:
    batch, piece = batch_of(tmp_path)
    store = open_store(str(tmp_path / "store"))
    with store.upload("one", len(piece)) as upload, Packers(1, 1, len(piece)) as packers:
        with packers.buffer() as buffer:
            packers.fill(buffer, len(piece), batch)
        [pid] = children()
        limit_files(pid)
        packers.write(upload, 0, 0, len(piece), batch)
        assert children() == [pid]
        upload.complete()
    assert store.read("one") == piece


@MODES
def test_what_can_t_be_written_fails_as_the_store_says(tmp_path: Path, n_processes: int) -> None:
    batch, piece = batch_of(tmp_path)
    store = open_store(str(tmp_path / "store"))
    with store.upload("one", len(piece)) as upload, Packers(n_processes, 1, len(piece)) as packers:
        with packers.buffer() as buffer:
            packers.fill(buffer, len(piece), batch)
        before = limit_files(0, *children())
        try:
            with pytest.raises(StoreError, match="one"):
                packers.write(upload, 0, 0, len(piece), batch)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        upload.abort()


def limit_files(*pids: int) -> tuple[int, int]:
    """Let processes, 0 being this one, write no file beyond a kilobyte; return what was before."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1000, before[1]))
    return before


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
    while left := [pid for pid in map(int, pids) if is_packer(pid)]:
        assert time.monotonic() < until, left
        time.sleep(0.05)


@pytest.mark.parametrize("individual_files", [True, False], ids=["objects too", "package alone"])
def test_a_package_is_the_same_with_and_without_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, individual_files: bool
) -> None:
    root, packages = tmp_path / "out", list[bytes]()
    root.mkdir()
    for number in range(300):
        (root / f"{number}").write_bytes(os.urandom(number * 7))
    policy = Policy(packaging=True, individual_files=individual_files)
    for least in (1, 1_000):
        monkeypatch.setattr(pack, "_LEAST_FILES", least)
        store = open_store(str(tmp_path / f"store{least}"))
        declared = VersionDeclaration(DatasetUri("pets", "v1"))
        [record] = publish_directory(root, store=store, to=[declared], policy=policy)
        packages.append(store.read(record.packages[0].key))
    assert packages[0] == packages[1]
