"""Builds a file system of its own in a mount namespace, then becomes another program in it.

    unshare --mount … python -I -S enter.py PLAN COMMAND…

Stands alone, in the standard library: it is run as a file of its own. PLAN is JSON: `root`, an
empty folder to build in, and `steps`, each a list of a word and its arguments.
"""

# Without pathlib, which would take longer to import than all the rest here takes.
# ruff: noqa: PTH103, PTH112, PTH120, PTH123, PTH211, S606

import ctypes
import json
import os
import sys

_MS_BIND, _MS_REC = 4096, 16384
_MOUNT_ATTR_RDONLY, _AT_RECURSIVE, _AT_FDCWD = 1, 0x8000, -100
_SYS_MOUNT_SETATTR = 442  # the same on every architecture

_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


def main(root: str, steps: list[list[str]], command: list[str]) -> None:
    """Build, enter and become."""
    _mount("none", root, "tmpfs", 0)
    for word, *arguments in steps:
        _STEPS[word](root, *arguments)
    os.chroot(root)
    os.chdir("/")
    os.execvp(command[0], command)


def _link(root: str, target: str, path: str) -> None:
    os.symlink(target, root + path)


def _bind(root: str, source: str, path: str) -> None:
    target = root + path
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "xb"):
            pass
    _mount(source, target, None, _MS_BIND | _MS_REC)


def _bind_read_only(root: str, source: str, path: str) -> None:
    _bind(root, source, path)
    attributes = _Attributes(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    target = os.fsencode(root + path)
    size = ctypes.sizeof(attributes)
    pointer = ctypes.byref(attributes)
    call = (_SYS_MOUNT_SETATTR, _AT_FDCWD, target, _AT_RECURSIVE, pointer, size)
    _check(_libc.syscall(*call), f"make {path} read-only")


def _tmpfs(root: str, path: str) -> None:
    os.makedirs(root + path, exist_ok=True)
    _mount("none", root + path, "tmpfs", 0)


def _proc(root: str) -> None:
    os.makedirs(f"{root}/proc", exist_ok=True)
    _mount("proc", f"{root}/proc", "proc", 0)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = (os.fsencode(source), os.fsencode(target), kind.encode() if kind else None)
    _check(_libc.mount(*encoded, ctypes.c_ulong(flags), None), f"mount {source} at {target}")


def _check(result: int, what: str) -> None:
    if result:
        sys.exit(f"can't {what}: {os.strerror(ctypes.get_errno())}")


_STEPS = {
    "link": _link,
    "bind": _bind,
    "bind-read-only": _bind_read_only,
    "tmpfs": _tmpfs,
    "proc": _proc,
}

if __name__ == "__main__":
    _plan = json.loads(sys.argv[1])
    main(_plan["root"], _plan["steps"], sys.argv[2:])
