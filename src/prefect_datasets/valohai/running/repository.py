"""The checkout as a step gets it: a copy, so that nothing it does there stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prefect_datasets.core.errors import InvalidInputError, NoSpaceError

_IGNORE_FILE = ".vhignore"
_GIT_SECONDS = 120.0


def copy_repository(source: Path, target: Path) -> int:
    """Copy a checkout into a folder that is there; return the number of files.

    What `.gitignore` and `.vhignore` name is left out, and what git keeps for itself; in a folder
    that is no checkout of git too, if git is installed.

    Raises:
        InvalidInputError: It can't be read.
        NoSpaceError: The disk is full.
    """
    n_files = 0
    for path in _files(source):
        try:
            n_files += _copy(source / path, target / path)
        except FileNotFoundError:
            continue  # git knows it, and it was deleted
        except OSError as error:
            raise _explained(error, source / path) from error
    return n_files


def commit_of(source: Path) -> str:
    """Return the commit of a checkout, or an empty string where there is none."""
    with suppress(OSError, subprocess.SubprocessError):
        return _git(source, "rev-parse", "HEAD").decode().strip()
    return ""


def _files(source: Path) -> Iterable[str]:
    with suppress(FileNotFoundError, subprocess.SubprocessError):
        return _known_to_git(source)
    return _all_files(source)


def _known_to_git(source: Path) -> list[str]:
    """Return what git would show, tracked or not, and no ignore file names."""
    own = [f"--exclude-from={_IGNORE_FILE}"] if (source / _IGNORE_FILE).is_file() else []
    listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", *own]
    try:
        found = _names(_git(source, *listing))
    except subprocess.CalledProcessError:  # no checkout
        with tempfile.TemporaryDirectory() as folder:
            _git(Path(folder), "init", "--quiet", "--bare", ".")
            return _names(_git(source, f"--git-dir={folder}", "--work-tree=.", *listing))
    ignored = _names(_git(source, "ls-files", "-z", "--cached", "--ignored", *own)) if own else []
    return [path for path in dict.fromkeys(found) if path not in set(ignored)]


def _git(folder: Path, *arguments: str) -> bytes:
    # A checkout may belong to another user than the worker's.
    command = ["git", "-c", "safe.directory=*", *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        command, cwd=folder, env=kept, capture_output=True, check=True, timeout=_GIT_SECONDS
    ).stdout


def _names(listed: bytes) -> list[str]:
    return [os.fsdecode(name).rstrip("/") for name in listed.split(b"\0") if name]


def _all_files(source: Path) -> Iterator[str]:
    for folder, below, names in os.walk(source):
        if ".git" in below:
            below.remove(".git")
        for name in [*names, *(each for each in below if Path(folder, each).is_symlink())]:
            yield str(Path(folder, name).relative_to(source))


def _copy(source: Path, target: Path) -> int:
    """Copy a file, a link, or a folder that is a checkout of its own; return how many files."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and not source.is_symlink():
        target.mkdir(exist_ok=True)
        return copy_repository(source, target)
    if source.is_symlink() or source.is_file():
        shutil.copy2(source, target, follow_symlinks=False)
        return 1
    return 0


def _explained(error: OSError, path: Path) -> InvalidInputError | NoSpaceError:
    import errno  # noqa: PLC0415 - only where something went wrong

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceError("The disk is full", subject=str(path), hint="Make room for a copy.")
    return InvalidInputError(
        f"The checkout can't be copied ({error.strerror})",
        subject=str(path),
        hint=f"Give the right to read it, or name it in {_IGNORE_FILE}.",
    )
