"""Which other trees of the cache are likely to hold files of a version, by their names alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_datasets.core.cache.cache import VERSIONS, Cache, Entry

if TYPE_CHECKING:
    from prefect_datasets.core.format.record import VersionRecord

_DIGITS = 16


def other_trees(cache: Cache, entry: Entry, record: VersionRecord) -> list[Entry]:
    """Return the other trees of the dataset, complete or not, the most promising first.

    Those are selections of the same version, then the version it was made from, then whatever was
    used last.
    """
    same = f"-{record.digest[:_DIGITS]}"
    parent = f"{record.parent.rpartition('/')[2]}-" if record.parent else None

    def rank(other: Entry) -> tuple[int, float]:
        if same in other.name:
            return 0, -other.last_used()
        if parent and other.name.startswith(parent):
            return 1, -other.last_used()
        return 2, -other.last_used()

    names = (name for name in cache.names(VERSIONS, entry.group) if name != entry.name)
    return sorted((Entry(cache.root, VERSIONS, entry.group, name) for name in names), key=rank)


def is_whole_version(entry: Entry) -> bool:
    """Tell whether a place is that of all files of a version, not of a selection."""
    return len(entry.name.rpartition("-")[2]) == _DIGITS
