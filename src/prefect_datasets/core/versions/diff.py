"""What differs between two versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.format import parts
from prefect_datasets.core.versions import catalog

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.uri import DatasetUri


@dataclass(frozen=True, slots=True)
class Diff:
    """What has to be done to the first version to get the second.

    Attributes:
        added: Paths of new files, sorted.
        removed: Paths of files that are gone, sorted.
        changed: Paths of files with other content, sorted.
        renamed: Old and new path of files whose content is the same, sorted by old path.
        n_same: Number of files that are as they were.
        n_new_bytes: Bytes of the second version that the first has nowhere.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    n_same: int
    n_new_bytes: int


def diff(store: Store, old: DatasetUri, new: DatasetUri) -> Diff:
    """Compare two versions by their tables.

    Raises:
        NotFoundError: One does not exist.
    """
    before, after = (catalog.find(store, uri) for uri in (old, new))
    return compare(parts.read_rows(store, before), parts.read_rows(store, after))


def compare(old: pa.Table, new: pa.Table) -> Diff:
    """Compare the rows (`rows.ROWS`) of two versions."""
    at = pc.index_in(new["path"], old["path"].combine_chunks())
    there = pc.is_valid(at)
    same = pc.fill_null(pc.equal(old["sha256"].take(at), new["sha256"]), fill_value=False)
    gone = old.filter(pc.invert(pc.is_in(old["path"], new["path"].combine_chunks())))
    fresh = new.filter(pc.invert(there))
    renamed = tuple(_renames(gone, fresh))
    before, after = ({pair[side] for pair in renamed} for side in (0, 1))
    known = pc.is_in(new["sha256"], old["sha256"].combine_chunks())
    return Diff(
        added=tuple(path for path in fresh["path"].to_pylist() if path not in after),
        removed=tuple(path for path in gone["path"].to_pylist() if path not in before),
        changed=tuple(new.filter(pc.and_(there, pc.invert(same)))["path"].to_pylist()),
        renamed=renamed,
        n_same=pc.sum(same).as_py() or 0,
        n_new_bytes=pc.sum(new.filter(pc.invert(known))["size"]).as_py() or 0,
    )


def _renames(gone: pa.Table, fresh: pa.Table) -> Iterator[tuple[str, str]]:
    """Pair files that are gone with new ones of the same content, each once."""
    places: dict[bytes, list[str]] = {}
    pairs = zip(fresh["sha256"].to_pylist(), fresh["path"].to_pylist(), strict=True)
    for digest, path in reversed(list(pairs)):
        places.setdefault(digest, []).append(path)
    for digest, path in zip(gone["sha256"].to_pylist(), gone["path"].to_pylist(), strict=True):
        if candidates := places.get(digest):
            yield path, candidates.pop()
