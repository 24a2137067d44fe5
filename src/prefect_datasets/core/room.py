"""Room for a tree: on the disk, and within the cache's budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prefect_datasets.core import space

if TYPE_CHECKING:
    from prefect_datasets.core.attempt import Attempt
    from prefect_datasets.core.record import VersionRecord


def make(attempt: Attempt, record: VersionRecord, needs: Callable[[], tuple[int, int]]) -> None:
    """See that there is room for a tree, by deleting what was not used for longest.

    Args:
        attempt: The tree in the making.
        record: The version.
        needs: Counts exactly how many bytes and files are to come; asked only where it is close.

    Raises:
        NoSpaceError: There is no room, and nothing unused to delete.
    """
    root = attempt.cache.root
    if space.fits(root, n_bytes=record.n_bytes, n_files=record.n_files):
        return
    n_bytes, n_files = needs()
    space.check(root, what=str(record.uri), n_bytes=n_bytes, n_files=n_files)
