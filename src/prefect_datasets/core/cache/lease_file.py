"""The file that says who is using a tree: what it is called and what it says.

`leases` keeps those of a process up to date. Nothing is imported here that takes time, because a
resolve from the cache writes one.
"""

from __future__ import annotations

import os
from zlib import crc32

from prefect_datasets.core.small_json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def this_host() -> str:
    """Return a name for the machine or container that holds this process."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  (pathlib makes it relative)
    except OSError:
        namespace = ""
    return f"{os.uname().nodename} {namespace}".rstrip()


def this_machine() -> str:
    """Return the machine's id, or an empty string where it has none, as most containers."""
    return _line("/etc/machine-id")


def this_boot() -> str:
    """Return an id of the kernel's run, or an empty string where it can't be known."""
    return _line("/proc/sys/kernel/random/boot_id")


def _line(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (no pathlib)
            return file.read().decode("ascii", "replace").strip()
    except OSError:
        return ""


def holder_of(pid: int) -> dict[str, str | int]:
    """Return what a lease of a process of this host says of it."""
    return {
        "host": this_host(),
        "pid": pid,
        "started": started_at(pid),
        "machine": this_machine(),
        "boot": this_boot(),
    }


def started_at(pid: int) -> str:
    """Return when a living process started, in clock ticks since the boot, else an empty string."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  (half the time of Path)
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def name_of(host: str, pid: int, started: str) -> str:
    """Return the file name of a process's lease; one process has one lease on a thing."""
    return f"{pid}-{started or '0'}-{crc32(host.encode()):08x}.json"


def write(path: str | os.PathLike[str], holder: Mapping[str, str | int], *, until: float) -> None:
    """Write a process's lease, or write it anew.

    Args:
        path: The file.
        holder: The process, as `holder_of` tells it.
        until: Seconds since 1970.

    Raises:
        FileNotFoundError: There is no folder for it.
    """
    body = dumps({**holder, "until": until})
    data = body.encode() + b"\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(handle, data)
        os.ftruncate(handle, len(data))
    finally:
        os.close(handle)
