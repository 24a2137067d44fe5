"""Is there room for a tree, and what may go to make room."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import NoSpaceError

if TYPE_CHECKING:
    from pathlib import Path

# Folders, the journal, the tables: little beside the files, and never nothing.
_SPARE_BYTES = 16 << 20


def fits(root: Path, *, n_bytes: int, n_files: int) -> bool:
    """Tell whether the disk below `root` has room for so many bytes and files."""
    disk = os.statvfs(root)
    has_files = disk.f_files == 0 or disk.f_favail >= n_files
    return has_files and disk.f_bavail * disk.f_frsize >= n_bytes + _SPARE_BYTES


def free_bytes(root: Path) -> int:
    """Return how many bytes may still be written below `root`."""
    disk = os.statvfs(root)
    return disk.f_bavail * disk.f_frsize


def check(root: Path, *, what: str, n_bytes: int, n_files: int) -> None:
    """Raise `NoSpaceError` unless the disk has room for so many bytes and files."""
    if fits(root, n_bytes=n_bytes, n_files=n_files):
        return
    disk = os.statvfs(root)
    raise NoSpaceError(
        f"{what} needs {n_bytes:,} bytes and {n_files:,} files, and the disk has room for "
        f"{disk.f_bavail * disk.f_frsize:,} bytes and {disk.f_favail:,} files",
        subject=str(root),
        hint="Free some space, `prefect-datasets cache prune` helps, or resolve a part of it "
        "with include or shard.",
    )
