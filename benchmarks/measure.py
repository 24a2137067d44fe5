"""Run one command and measure it from outside: time, CPU, memory of its whole tree, disk.

Memory is the sum of the resident pages that belong to the tree alone (proportional where shared),
sampled; disk is the most that lay below the watched folders at once, sampled.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

_EVERY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run took.

    Attributes:
        seconds: From start to end, by the wall clock.
        cpu_seconds: User and system time of the tree.
        peak_bytes: Most memory of the tree at once.
        peak_disk_bytes: Most bytes used on the watched file system beyond those at the start.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    peak_disk_bytes: int


class FailedError(Exception):
    """The command did not end well."""


def run(command: str, *, watched: Path, env: dict[str, str]) -> Measured:
    """Run a shell command and measure it.

    Args:
        command: For bash, with pipes failing as a whole.
        watched: A folder on the file system whose use is watched; nothing else may write there.
        env: The environment.

    Raises:
        FailedError: The command failed; its output is the message.
    """
    os.sync()
    disk_before, cpu_before = _used(watched), _cpu()
    peaks = {"memory": 0, "disk": 0}
    done = threading.Event()
    begin = time.perf_counter()
    with subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", command],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        sampler = threading.Thread(target=_sample, args=(process.pid, watched, peaks, done))
        sampler.start()
        output, _ = process.communicate()
        seconds = time.perf_counter() - begin
        done.set()
        sampler.join()
    if process.returncode:
        message = f"{command}\n{output[-2000:]}"
        raise FailedError(message)
    disk = max(peaks["disk"], _used(watched)) - disk_before
    return Measured(seconds, _cpu() - cpu_before, peaks["memory"], disk)


def _cpu() -> float:
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _used(folder: Path) -> int:
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def _sample(root: int, watched: Path, peaks: dict[str, int], done: threading.Event) -> None:
    while not done.wait(_EVERY_SECONDS):
        peaks["memory"] = max(peaks["memory"], sum(map(_memory, _tree(root))))
        peaks["disk"] = max(peaks["disk"], _used(watched))


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
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
