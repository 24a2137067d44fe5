"""Deleting folders of the cache: out of sight with one rename, then file by file."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


def discard(root: Path, folder: Path) -> int:
    """Delete a folder of the cache at `root`; return how many bytes that gave back to the disk.

    A kill leaves it in the trash, which the next prune empties.
    """
    trash = root / "trash"
    trash.mkdir(parents=True, exist_ok=True)
    grave = trash / uuid.uuid4().hex
    try:
        folder.rename(grave)
    except FileNotFoundError:
        return 0
    return erase(grave)


def erase(folder: Path) -> int:
    """Delete a folder that nobody looks at any more; return the bytes given back to the disk."""
    n_bytes = 0
    for _, folders, names, handle in os.fwalk(folder, topdown=False, follow_symlinks=False):
        with contextlib.suppress(OSError):
            os.fchmod(handle, 0o700)  # folders of a tree are read-only
        n_bytes += sum(_unlink(name, handle) for name in names)
        for name in folders:
            _remove_folder(name, handle)
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()
    return n_bytes


def empty(root: Path) -> int:
    """Delete what a killed process left in the trash; return the bytes given back to the disk."""
    trash = root / "trash"
    try:
        names = os.listdir(trash)  # noqa: PTH208  (names are enough)
    except FileNotFoundError:
        return 0
    return sum(erase(trash / name) for name in names)


def _unlink(name: str, folder: int) -> int:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:  # another prune was here first
        return 0
    return status.st_blocks * 512 if status.st_nlink == 1 else 0


def _remove_folder(name: str, folder: int) -> None:
    try:
        os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except NotADirectoryError:  # a link to one
        os.unlink(name, dir_fd=folder)
