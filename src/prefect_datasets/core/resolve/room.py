"""Room for a tree: on the disk, and within the cache's budget."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prefect_datasets.core.cache.prune import plan_prune, prune, survey
from prefect_datasets.core.errors import NoSpaceError

if TYPE_CHECKING:
    from pathlib import Path

    from prefect_datasets.core.cache.cache import Cache

# Folders, the journal, the tables: little beside the files, and never nothing.
_SPARE_BYTES = 16 << 20

# How many bytes and files are to come.
Needs = tuple[int, int]


def make_room(cache: Cache, what: str, most: Needs, exact: Callable[[], Needs]) -> None:
    """See that there is room for a tree; with a budget, delete what was not used for longest.

    Args:
        cache: The cache; nothing in it that is leased is deleted.
        what: What the room is for, for errors.
        most: Bytes and files that it can take at most.
        exact: Counts how many it will take; asked only where it is close.

    Raises:
        NoSpaceError: There is no room, and nothing unused to delete.
    """
    is_in_budget = cache.max_bytes is None or _claimed(cache) + most[0] <= cache.max_bytes
    if is_in_budget and _fits(cache.root, most):
        return
    needs = exact()
    if cache.max_bytes is not None:
        _evict(cache, what, needs, cache.max_bytes)
    if not _fits(cache.root, needs):
        raise _no_room(cache.root, what, needs)


def _claimed(cache: Cache) -> int:
    """Return what all trees take at most: files that they share are counted for each."""
    found = (entry.read_ready() for entry in cache.entries())
    return sum(ready.n_bytes for ready in found if ready)


def _evict(cache: Cache, what: str, needs: Needs, max_bytes: int) -> None:
    candidates = survey(cache)
    lacking = needs[0] + _SPARE_BYTES - _free_bytes(cache.root)
    plan = plan_prune(
        candidates,
        now=time.time(),
        max_bytes=max(max_bytes - needs[0], 0),
        free_bytes=max(lacking, 0),
    )
    if plan.n_kept_bytes + needs[0] > max_bytes:
        raise NoSpaceError(
            f"{what} needs {needs[0]:,} bytes, and what is in use takes {plan.n_kept_bytes:,} of "
            f"the {max_bytes:,} that the cache may have",
            subject=str(cache.root),
            hint="Give the cache more, or resolve a part of the version with include or shard.",
        )
    prune(cache, plan)


def _fits(root: Path, needs: Needs) -> bool:
    disk = os.statvfs(root)
    has_files = disk.f_files == 0 or disk.f_favail >= needs[1]
    return has_files and _free_bytes(root) >= needs[0] + _SPARE_BYTES


def _free_bytes(root: Path) -> int:
    disk = os.statvfs(root)
    return disk.f_bavail * disk.f_frsize


def _no_room(root: Path, what: str, needs: Needs) -> NoSpaceError:
    return NoSpaceError(
        f"{what} needs {needs[0]:,} bytes and {needs[1]:,} files, beside {_SPARE_BYTES >> 20} MiB "
        "that stay free, and the disk has room for "
        f"{_free_bytes(root):,} bytes and {os.statvfs(root).f_favail:,} files",
        subject=str(root),
        hint="Free some space, `prefect-datasets cache prune` helps, or resolve a part of the "
        "version with include or shard.",
    )
