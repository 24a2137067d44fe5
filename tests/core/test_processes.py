"""Processes of ours start, answer and end whatever the process that starts them is like."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from prefect_datasets.core.processes import Child, Memory, read_answer
from prefect_datasets.core.publish import packer
from tests.core.children import is_ours


@contextmanager
def child() -> Generator[Child]:
    """Start one that lists folders."""
    with closing(Memory(1)) as memory:
        child = Child(packer.__name__, memory)
        try:
            yield child
        finally:
            child.end()


def list_of(folder: Path) -> bytes:
    """Return the message that has it list a folder."""
    return packer.order(packer.LIST, os.fsencode(folder))


def wait_for(child: Child) -> None:
    """Wait for an answer that is not taken."""
    until = time.monotonic() + 20
    while not child.has_answered():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_path_of_imports_may_hold_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path, None, b"bytes"])
    with child() as one:
        assert read_answer(one.ask(list_of(tmp_path)))


def test_nothing_is_imported_from_where_a_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    for name in ("importlib", "types", "warnings", "struct"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'out' / name)!r}, 'x')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    with child() as one:
        assert read_answer(one.ask(list_of(tmp_path)))
    assert not any((tmp_path / "out").iterdir())


def test_a_process_may_have_many_files_open(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2_048), before[1]))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    try:
        with child() as one:
            one.tell(list_of(tmp_path))
            wait_for(one)
            assert read_answer(one.hear())
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_one_that_was_ended_is_gone(tmp_path: Path) -> None:
    with child() as one:
        one.end()
        with pytest.raises(EOFError):
            one.ask(list_of(tmp_path))


def test_one_that_is_killed_has_answered_that_none_will_come(tmp_path: Path) -> None:
    with child() as one:
        assert not one.has_answered()
        [pid] = _ours()
        os.kill(pid, signal.SIGKILL)
        wait_for(one)
        with pytest.raises((EOFError, OSError)):
            one.ask(list_of(tmp_path))


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_process_forked_since_keeps_none_from_ending() -> None:
    """It has the pipe open; the one that is ended would be killed after some seconds."""
    context = multiprocessing.get_context("fork")
    with closing(Memory(1)) as memory:
        one = Child(packer.__name__, memory)
        pause = context.Event()
        other = context.Process(target=pause.wait)
        other.start()
        try:
            one.end()
            assert one._process.returncode == 0  # pyright: ignore[reportPrivateUsage]
        finally:
            pause.set()
            other.join()


def test_names_are_the_same_bytes_in_every_locale(tmp_path: Path) -> None:
    """A program may have been told to use UTF-8 by an option that its environment does not have."""
    (tmp_path / "ü").touch()
    code = (
        "import sys; from tests.core import test_processes as here; from pathlib import Path\n"
        "with here.child() as one:\n"
        "    print(here.encoding_of(here._ours()[0]), flush=True)"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for mode in ("0", "1"):
        command = [sys.executable, "-X", f"utf8={mode}", "-c", code]
        told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
        assert told.decode().strip() == f"utf8={mode}"


def encoding_of(pid: int) -> str:
    """Return the option that says how a process encodes names."""
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return arguments[arguments.index(b"-X") + 1].decode()


def test_memory_that_can_t_be_had_leaves_nothing_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    n_open = _n_open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        memory = Memory(1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert memory.descriptor == -1
    assert _n_open() == n_open


def _n_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _ours() -> list[int]:
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in map(int, found) if is_ours(pid)]
