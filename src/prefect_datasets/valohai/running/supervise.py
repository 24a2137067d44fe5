"""Runs a command and leaves nothing of it behind: no child, no daemon, whoever started that.

    python -I -S supervise.py CONTROL REPORT GRACE FOLDER COMMAND…

Stands alone, in the standard library: it is run as a file of its own, in a namespace or without.
Orphans become its children, so none escapes. It ends the command when something is written to the
pipe CONTROL, or nobody holds its other end any more: when whoever asked for the run was killed. How
the command ended goes to REPORT as JSON.
"""

# Without pathlib, which would take longer to import than all the rest here takes.
# ruff: noqa: PTH123, PTH208, S606

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SETTLE_SECONDS = 0.5  # `> >(tee file)` ends a little later than the script it is in
_LEFT_GRACE_SECONDS = 1.0
_KILL_SECONDS = 10.0  # what is stuck in the kernel does not end
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT)
_SHOWN_LEFT = 10


def main(control: int, report: int, grace: float, folder: str, command: list[str]) -> None:
    """Run the command to its end."""
    for fd in (control, report):
        os.set_inheritable(fd, False)  # noqa: FBT003
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake = _wake_on_children()
    child = _start(folder, command)
    status, deadline = _wait(child, control, wake, grace)
    was_asked = deadline is not None
    if not was_asked:
        _settle()
    left = [] if was_asked else _descendants()
    body = {
        "exit_code": _exit_code(status),
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "left": [_name(pid) for pid in left[:_SHOWN_LEFT]],
        "n_left": len(left),
    }
    os.write(report, json.dumps(body).encode())
    _end(deadline or time.monotonic() + _LEFT_GRACE_SECONDS)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _wake_on_children() -> int:
    """Return a pipe that can be read when a child ended."""
    reading, writing = os.pipe()
    for fd in (reading, writing):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _heed)
    return reading


def _heed(_number: int, _frame: object) -> None:
    """Be woken by a signal, and do nothing else."""


def _start(folder: str, command: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in (*_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(folder)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _wait(child: int, control: int, wake: int, grace: float) -> tuple[int, float | None]:
    """Wait for the child; return its status, and when all has to end if somebody asked for that."""
    deadline: float | None = None
    watched = [control, wake]
    while True:
        if (status := _reap(child)) is not None:
            return status, deadline
        timeout = None if deadline is None else max(deadline - time.monotonic(), 0.05)
        ready, _, _ = select.select(watched, [], [], timeout)
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
        if control in ready:
            watched.remove(control)
            deadline = time.monotonic() + grace
            _signal_all(signal.SIGTERM)
        elif deadline is not None and time.monotonic() >= deadline:
            _signal_all(signal.SIGKILL)


def _reap(child: int) -> int | None:
    """Collect what ended; return the child's status if it is among that."""
    found: int | None = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                found = status
    return found


def _has_children() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return False
    return True


def _settle() -> None:
    """Let what is about to end do so by itself."""
    end = time.monotonic() + _SETTLE_SECONDS
    while _has_children() and time.monotonic() < end:
        time.sleep(0.01)


def _end(deadline: float) -> None:
    """End all that is left: ask first, and kill what is there at the deadline."""
    if not _has_children():
        return
    _signal_all(signal.SIGTERM)
    while _has_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    end = time.monotonic() + _KILL_SECONDS
    while _has_children() and time.monotonic() < end:
        _signal_all(signal.SIGKILL)
        time.sleep(0.01)


def _signal_all(number: int) -> None:
    for pid in _descendants():
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _descendants() -> list[int]:
    """Return the processes below this one that have not ended, by /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = _stat(int(name))
                if state not in "ZX":
                    children.setdefault(parent, []).append(int(name))
    found, queue = list[int](), [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _stat(pid: int) -> tuple[str, int]:
    with open(f"/proc/{pid}/stat", "rb") as file:
        state, parent = file.read().rpartition(b")")[2].split()[:2]
    return state.decode(), int(parent)


def _name(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read(200).replace(b"\0", b" ").decode(errors="replace").strip()
    return "?"


def _exit_code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5:])
