"""The processes that the engine starts, as seen from outside."""

from __future__ import annotations

import os
from pathlib import Path


def children(parent: int | None = None) -> list[int]:
    """Return the processes of ours that a process has started; this one if left out."""
    parent = os.getpid() if parent is None else parent
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [pid for pid in map(int, found) if is_ours(pid)]


def is_ours(pid: int) -> bool:
    """Tell whether a process is there and was started by `core.processes`."""
    try:
        return b"-S\0-c" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False
