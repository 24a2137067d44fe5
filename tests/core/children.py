"""The processes that the engine starts, as seen from outside."""

from __future__ import annotations

import os
import time
from pathlib import Path


def children(parent: int | None = None) -> list[int]:
    """Return the processes of ours that a process has started; this one if left out."""
    parent = os.getpid() if parent is None else parent
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [pid for pid in map(int, found) if is_ours(pid)]


def is_ours(pid: int) -> bool:
    """Tell whether a process is there and was started by `core.processes`."""
    try:
        # For a moment after its start, and once it has ended, it has no command line.
        while not (command := Path(f"/proc/{pid}/cmdline").read_bytes()):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return False
            time.sleep(0.001)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"-S\0-c" in command
