"""Real `/valohai/inputs`, `/valohai/outputs` … for one step: a file system of its own.

The machine's files are there, but can't be changed; `/valohai`, `/tmp` and `/dev/shm` are the run's
alone. Bubblewrap builds that, else `unshare` with `enter.py`; both without being root where the
machine allows it. Where neither works the step gets plain folders, and is told where.

Deciding which mounts and which command is pure; only `choose` tries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.running import enter
from prefect_datasets.valohai.running.runner import NamespaceChoice

Kind = Literal["bubblewrap", "unshare", "plain"]

_KINDS: tuple[Kind, ...] = ("bubblewrap", "unshare")
_TRY_SECONDS = 30.0
# Made anew in the namespace, or taken over with the right to write.
_OWN = frozenset({"dev", "proc", "tmp", "valohai"})
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - each run has its own
_HIDDEN = (*_TEMPORARY, "/dev/shm")  # noqa: S108


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the machine at a place in the namespace.

    Attributes:
        source: Its path here.
        target: Its path there.
        is_read_only: Whether it can't be changed there.
    """

    source: str
    target: str
    is_read_only: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """What a namespace shows.

    Attributes:
        links: Links in `/`, path and target.
        mounts: Folders and files, in this order: later ones lie over earlier ones.
        folder: The working directory.
        scratch: An empty folder here, to build in.
    """

    links: tuple[tuple[str, str], ...]
    mounts: tuple[Mount, ...]
    folder: str
    scratch: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """What shows a view here.

    Attributes:
        kind: What builds it.
        faults: Why better kinds do not work here, a line each.
    """

    kind: Kind
    faults: tuple[str, ...] = ()


# -- what is seen --------------------------------------------------------------------------------


def view(own: Iterable[Mount], *, temporary: Path, folder: str, scratch: Path) -> View:
    """Return a view of this machine, read-only, with a run's own folders in it.

    Args:
        own: The run's own folders.
        temporary: The run's folder for temporary files.
        folder: The working directory.
        scratch: An empty folder of the run.
    """
    links: list[tuple[str, str]] = []
    mounts: list[Mount] = []
    with os.scandir("/") as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_symlink():
                links.append((entry.path, str(Path(entry.path).readlink())))
            elif entry.name not in _OWN:
                mounts.append(Mount(entry.path, entry.path))
    own_temporary = [
        Mount(str(temporary), path, is_read_only=False)
        for path in _TEMPORARY
        if os.path.isdir(path)  # noqa: PTH112
    ]
    mounts += [*own_temporary, *_interpreter(), *own]
    return View(tuple(links), tuple(mounts), folder, str(scratch))


def _interpreter() -> list[Mount]:
    """Return what Python needs of folders that the run's own would hide."""
    here = str(Path(__file__).parent)
    needed = dict.fromkeys((sys.base_prefix, sys.prefix, here))
    return [Mount(path, path) for path in needed if path.startswith(_HIDDEN)]


# -- commands ------------------------------------------------------------------------------------


def prefix(kind: Kind, view: View) -> list[str]:
    """Return what stands before a command so that it sees the view."""
    match kind:
        case "bubblewrap":
            return bubblewrap(view)
        case "unshare":
            return unshare(view, is_root=os.geteuid() == 0)
        case "plain":
            return []


def bubblewrap(view: View) -> list[str]:
    """Return the command that runs what follows it in the view, by bubblewrap."""
    command = ["bwrap", "--unshare-pid", "--unshare-ipc", "--die-with-parent"]
    for path, target in view.links:
        command += ["--symlink", target, path]
    command += ["--dev-bind", "/dev", "/dev", "--tmpfs", "/dev/shm", "--proc", "/proc"]  # noqa: S108
    for mount in view.mounts:
        command += ["--ro-bind" if mount.is_read_only else "--bind", mount.source, mount.target]
    return [*command, "--chdir", view.folder, "--"]


def unshare(view: View, *, is_root: bool) -> list[str]:
    """Return the command that runs what follows it in the view, by `unshare`."""
    steps = [["link", target, path] for path, target in view.links]
    steps += [["bind", "/dev", "/dev"], ["tmpfs", "/dev/shm"], ["proc"]]  # noqa: S108
    for mount in view.mounts:
        word = "bind-read-only" if mount.is_read_only else "bind"
        steps.append([word, mount.source, mount.target])
    plan = json.dumps({"root": view.scratch, "steps": steps})
    spaces = ["--mount", "--propagation", "private", "--pid", "--ipc", "--fork", "--kill-child"]
    user = [] if is_root else ["--map-root-user"]
    build = [sys.executable, "-I", "-S", str(enter.__file__), plan]
    return ["unshare", *user, *spaces, *build]


# -- trying --------------------------------------------------------------------------------------


def choose(wanted: NamespaceChoice, view: View) -> Namespace:
    """Return the first way that works here to show a view.

    Raises:
        InvalidInputError: The one that is wanted does not work.
    """
    faults: list[str] = []
    for kind in _KINDS:
        if wanted not in ("auto", kind):
            continue
        fault = _try(prefix(kind, view))
        if fault is None:
            return Namespace(kind, tuple(faults))
        faults.append(f"{kind}: {fault}")
    if wanted in _KINDS:
        raise InvalidInputError(
            f"No namespace can be made here ({'; '.join(faults)})",
            subject=wanted,
            hint="Take another kind of namespace, or `auto` for what works.",
        )
    return Namespace("plain", tuple(faults))


def _try(before: Sequence[str]) -> str | None:
    """Return why nothing can be run behind `before`, or None."""
    command = [*before, sys.executable, "-I", "-S", "-c", ""]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRY_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return "not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"exit code {done.returncode}"
