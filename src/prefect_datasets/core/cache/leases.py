"""Who is using what in the cache, told by small files that processes renew while they live.

A lease is a file `{"host", "pid", "started", "machine", "boot", "until"}`. It holds

- until the time `until`, whatever becomes of its process, and beyond that
- on the host it was made on: while a process with that id and start time is alive;
- elsewhere: while it was renewed (its mtime) within the last quarter of an hour;
- not at all once the machine it was made on was started anew: no process outlives that.

A host is a host name together with a PID namespace, because two containers may share the name. That
a lease is of this machine is known where host name and machine id are the same. Without a machine
id another boot may be another machine of the same name, so its lease is one from elsewhere.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import threading
import time
import zlib
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from prefect_datasets.core.cache import lease_file
from prefect_datasets.core.cache.lease_file import started_at

RENEW_SECONDS = 300.0
STALE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process, never mistaken for a later one with the same id.

    Attributes:
        host: Host name and PID namespace.
        pid: Its id.
        started: When it started, in the kernel's own count; empty where that can't be known.
    """

    host: str
    pid: int
    started: str

    def is_alive_here(self) -> bool:
        """Tell whether this process lives; only right for a process of this host."""
        if self.started:
            return started_at(self.pid) == self.started
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def this_process() -> Process:
    """Return the process that asks."""
    return _process(os.getpid())


@lru_cache(maxsize=1)
def _process(pid: int) -> Process:
    return Process(this_host(), pid, started_at(pid))


@lru_cache(maxsize=1)
def this_host() -> str:
    """Return a name for the machine or container that holds this process."""
    return lease_file.this_host()


@lru_cache(maxsize=1)
def this_boot() -> str:
    """Return an id of the kernel's run, or an empty string where it can't be known."""
    return lease_file.this_boot()


@lru_cache(maxsize=1)
def this_machine() -> str:
    """Return the machine's id, or an empty string where it has none, as most containers."""
    return lease_file.this_machine()


def lease_name(process: Process) -> str:
    """Return the file name of a process's lease; one process has one lease on a thing."""
    return lease_file.name_of(process.host, process.pid, process.started)


def named_process_lives(name: str) -> bool:
    """Tell whether the process of a `lease_name` lives, as far as can be told from here."""
    pid, started, host = name.removesuffix(".json").split("-")
    if int(host, 16) != zlib.crc32(this_host().encode()):
        return True
    return Process(this_host(), int(pid), "" if started == "0" else started).is_alive_here()


def take(path: Path, *, until: float = 0.0) -> None:
    """Write this process's lease to `path`, or count one more use of it; renewed until given back.

    Args:
        path: The file.
        until: Time in seconds since 1970 up to which it holds in any case.

    Raises:
        FileNotFoundError: The folder is gone.
    """
    holder = {**asdict(this_process()), "machine": this_machine(), "boot": this_boot()}
    lasts = _keeper.count(path, until)
    try:
        lease_file.write(path, holder, until=lasts)
    except OSError:
        _keeper.uncount(path)
        raise


def give_back(path: Path, *, is_unused: bool = False) -> None:
    """End one use of this process's lease; the last one removes it unless it has a term.

    Args:
        path: The file.
        is_unused: Nobody was told of what it is on, so its term counts for nothing.
    """
    if _keeper.uncount(path, is_unused=is_unused):
        with contextlib.suppress(OSError):
            path.unlink()


def moved(old: Path, new: Path) -> None:
    """Tell that a lease of this process lies elsewhere now."""
    _keeper.move(old, new)


def is_live(path: Path, *, now: float | None = None) -> bool:
    """Tell whether the lease at `path` holds."""
    now = time.time() if now is None else now
    renewed = now
    try:
        renewed = path.stat().st_mtime
        body = json.loads(path.read_bytes())
        holder = Process(str(body["host"]), body["pid"], body["started"])
        machine, boot = body.get("machine", ""), body.get("boot", "")
        until = float(body["until"])
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):  # being written at this moment, or torn by a kill
        return now - renewed < STALE_SECONDS
    is_of_this_boot = not (boot and this_boot()) or boot == this_boot()
    if not is_of_this_boot and _is_this_machine(holder.host, machine):
        return False
    if until > now:
        return True
    if holder.host == this_host() and is_of_this_boot:
        return holder.is_alive_here()
    return now - renewed < STALE_SECONDS


def _is_this_machine(host: str, machine: str) -> bool:
    name, here = host.partition(" ")[0], this_host().partition(" ")[0]
    return bool(machine) and (machine, name) == (this_machine(), here)


@dataclass(slots=True)
class _Held:
    n_uses: int = 0
    until: float = 0.0


class _Keeper:
    """Renews the leases of this process from one thread, and gives them back at its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Path, _Held] = {}
        self._thread: threading.Thread | None = None

    def count(self, path: Path, until: float) -> float:
        """Count one more use and return until when the lease holds in any case."""
        with self._lock:
            held = self._held.setdefault(path, _Held())
            held.n_uses += 1
            held.until = max(held.until, until)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()
            return held.until

    def uncount(self, path: Path, *, is_unused: bool = False) -> bool:
        """Count one use less and tell whether the lease is to be removed."""
        with self._lock:
            held = self._held.get(path)
            if held is None:
                return False
            held.n_uses -= 1
            if held.n_uses > 0:
                return False
            del self._held[path]
            return is_unused or not held.until

    def move(self, old: Path, new: Path) -> None:
        with self._lock:
            if (held := self._held.pop(old, None)) is not None:
                there = self._held.setdefault(new, _Held())
                there.n_uses += held.n_uses
                there.until = max(there.until, held.until)

    def renew(self) -> None:
        """Renew every lease; one that is gone was taken away for good."""
        with self._lock:
            held = list(self._held)
        for path in held:
            try:
                os.utime(path)
            except FileNotFoundError:
                with self._lock:
                    self._held.pop(path, None)
            except OSError:  # a full or sleeping file system; the next round may succeed
                continue

    def release_all(self) -> None:
        for path, held in list(self._held.items()):
            if not held.until:
                with contextlib.suppress(OSError):
                    path.unlink()

    def forget(self) -> None:
        """Begin anew in a forked child: the leases are the parent's."""
        self.__init__()

    def _run(self) -> None:
        while True:
            time.sleep(RENEW_SECONDS)
            self.renew()


_keeper = _Keeper()
atexit.register(_keeper.release_all)
os.register_at_fork(after_in_child=_keeper.forget)
