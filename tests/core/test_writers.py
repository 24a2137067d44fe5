"""Processes that write and link files: the same trees and errors as without them."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.resolve import writers as writing
from prefect_datasets.core.resolve.hands import Hands
from prefect_datasets.core.resolve.write_files import Contents
from prefect_datasets.core.resolve.writers import Writers
from tests.core.children import children, is_ours

FILES = {"a": b"first", "b/c": b"", "b/d/ü.jpg": os.urandom(70_000)}
FEW, MANY = 3, 100_000
MODES = pytest.mark.parametrize("n_files", [FEW, MANY], ids=["threads", "processes"])


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes on any machine."""
    monkeypatch.setattr(writing, "n_processors", lambda: 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the tree is made."""
    root = tmp_path / "files"
    root.mkdir()
    return root


@pytest.fixture
def writers(root: Path, n_files: int) -> Iterator[Writers]:
    """Who writes it."""
    with Writers(root, n_files) as writers:
        assert bool(children()) == (n_files == MANY)
        yield writers
    assert not children()


@pytest.fixture
def hands(root: Path, writers: Writers) -> Iterator[Hands]:
    """What a thread holds."""
    with Hands(root, made=writers.made, lend=writers.lend) as hands:
        yield hands


def contents_of(files: dict[str, bytes]) -> tuple[Contents, bytes]:
    """Return files as they lie in one buffer, and the buffer."""
    joined = b"".join(files.values())
    ends = [len(b"".join([*files.values()][: n + 1])) for n in range(len(files))]
    contents = Contents(
        [*files],
        [end - len(content) for end, content in zip(ends, files.values(), strict=True)],
        ends,
        [hashlib.sha256(content).digest() for content in files.values()],
        [zlib.crc32(content) for content in files.values()],
    )
    return contents, joined


def lent(writers: Writers, data: bytes) -> memoryview:
    """Put bytes where the network would."""
    buffer = writers.lend(len(data))
    buffer[:] = data
    return buffer


def tree(root: Path) -> dict[str, bytes]:
    """Return the files of a tree."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


@MODES
@pytest.mark.parametrize("is_lent", [True, False])
def test_files_are_written(root: Path, writers: Writers, hands: Hands, *, is_lent: bool) -> None:
    contents, data = contents_of(FILES)
    buffer = lent(writers, data) if is_lent else memoryview(data)
    assert writers.write(contents, buffer, hands) == []
    assert tree(root) == FILES
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()} == {0o444}
    assert writers.made == {"b", "b/d"}


@MODES
def test_what_is_damaged_is_told_and_not_written(
    root: Path, writers: Writers, hands: Hands
) -> None:
    contents, data = contents_of(FILES)
    damaged = lent(writers, data[:-1] + bytes([data[-1] ^ 1]))
    assert writers.write(contents, damaged, hands) == [2]
    assert tree(root) == {path: FILES[path] for path in ("a", "b/c")}


@MODES
def test_files_are_linked(root: Path, writers: Writers, hands: Hands, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "x").mkdir(parents=True)
    (other / "x" / "1").write_text("one")
    missing = writers.link(other, ["x/1", "x/2", "y/3"], ["p/q", "p/r", "s"], hands)
    assert missing == [1, 2]
    assert (root / "p" / "q").samefile(other / "x" / "1")
    assert writers.made == {"p"}
    with pytest.raises(FileNotFoundError):
        writers.link(tmp_path / "gone", ["1"], ["2"], hands)


@MODES
def test_two_files_of_one_name_are_an_error(root: Path, writers: Writers, hands: Hands) -> None:
    (root / "b").write_text("no folder")
    contents, data = contents_of(FILES)
    with pytest.raises(InvalidInputError, match="takes for one") as caught:
        writers.write(contents, lent(writers, data), hands)
    assert str(root) in caught.value.subject


@pytest.mark.parametrize("n_files", [MANY])
def test_a_killed_process_is_done_without(
    root: Path, writers: Writers, hands: Hands, tmp_path: Path
) -> None:
    """What it wrote of its last files is written again, by the thread."""
    contents, data = contents_of(FILES)
    buffer = lent(writers, data)
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    (root / "a").write_bytes(b"fir")
    (root / "b").mkdir()
    assert writers.write(contents, buffer, hands) == []
    assert tree(root) == FILES
    assert writers.made == {"b", "b/d"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "1").write_text("one")
    (root / "2").symlink_to("nowhere")
    assert writers.link(other, ["1"], ["2"], hands) == []
    assert tree(root) == {**FILES, "2": b"one"}


_HOLD = """
import sys, time
from pathlib import Path
from prefect_datasets.core.resolve.writers import Writers
from tests.core.children import children, is_ours
with Writers(Path(sys.argv[1]), 100_000) as writers:
    print("there", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(end: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"there\n"
        pids = children(holder.pid)
        assert pids
        holder.send_signal(end)
        holder.wait(20)
    until = time.monotonic() + 20
    while left := [pid for pid in pids if is_ours(pid)]:
        assert time.monotonic() < until, left
        time.sleep(0.05)
