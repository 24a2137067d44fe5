"""Run one command and measure it from outside: time, CPU, memory of its whole tree, disk.

Memory is the sum of the resident pages that belong to the tree alone (proportional where shared);
disk is what is used on the file system of the work folder. Both are sampled, memory less and less
often, because asking for it takes time from what is measured.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Self

_DISK_EVERY_SECONDS = 0.02
_MEMORY_EVERY_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run took.

    Attributes:
        seconds: From start to end, by the wall clock.
        cpu_seconds: User and system time of the tree.
        peak_bytes: Most memory of the tree at once.
        peak_disk_bytes: Most bytes used on the watched file system beyond those at the start.
        output: What it wrote to standard output.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    peak_disk_bytes: int
    output: str


class FailedError(Exception):
    """The command did not end well."""


def run(
    command: str,
    *,
    watched: Path,
    env: Mapping[str, str],
    prefix: Sequence[str] = (),
    timeout_seconds: float = 1800,
) -> Measured:
    """Run a shell command and measure it.

    Args:
        command: For bash, with pipes failing as a whole.
        watched: A folder on the file system whose use is watched; nothing else may write there.
        env: The environment.
        prefix: What enters the network namespace.
        timeout_seconds: When to give up.

    Raises:
        FailedError: The command failed; its output is the message.
    """
    begin_disk, begin_cpu = used(watched), _cpu()
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        with (
            subprocess.Popen(
                [*prefix, "bash", "-o", "pipefail", "-c", command],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            ) as process,
            _Sampler(process.pid, watched) as sampler,
        ):
            code = _wait(process, timeout_seconds)
            seconds = time.perf_counter() - begin
        errors.seek(0)
        output.seek(0)
        if code:
            told = errors.read()[-2000:].decode(errors="replace")
            raise FailedError(f"exit code {code} from: {command}\n{told}")
        disk = max(sampler.disk, used(watched)) - begin_disk
        said = output.read().decode(errors="replace")
    return Measured(seconds, _cpu() - begin_cpu, sampler.memory, disk, said)


def used(folder: Path) -> int:
    """Return the bytes used on the file system of `folder`."""
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


class _Sampler:
    """Looks at a tree of processes and a file system while the block runs."""

    def __init__(self, root: int, watched: Path) -> None:
        self.memory = self.disk = 0
        self._root, self._watched = root, watched
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _work(self) -> None:
        begin = last = time.monotonic()
        while not self._done.wait(_DISK_EVERY_SECONDS):
            self.disk = max(self.disk, used(self._watched))
            now = time.monotonic()
            if now - last >= min(_MEMORY_EVERY_SECONDS, (now - begin) / 10):
                self.memory = max(self.memory, sum(map(_memory, _tree(self._root))))
                last = time.monotonic()


def _wait(process: subprocess.Popen[bytes], timeout_seconds: float) -> int:
    """Wait for its end, or kill it; `Popen.wait` with a timeout would look every 50 ms only."""
    timer = threading.Timer(timeout_seconds, _kill, (process.pid,))
    timer.start()
    try:
        return process.wait()
    finally:
        timer.cancel()


def _kill(root: int) -> None:
    for pid in _tree(root):
        os.kill(pid, signal.SIGKILL)


def _cpu() -> float:
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _tree(root: int) -> list[int]:
    """Return the process and all its descendants."""
    found = [root]
    for pid in found:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _memory(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123  (many times a second)
            lines = file.read().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:"))
