"""How much differs between two versions, and how large a version's files are: numbers alone.

`diff` names the files; this counts them, without a Python object per file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import Int64s
from prefect_datasets.core.format import parts
from prefect_datasets.core.format.tables import read_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect_datasets.core.format.record import Part, VersionRecord
    from prefect_datasets.core.store import Store

# Rows that are compared at once: some 100 bytes of memory each.
MOST_COMPARED_FILES = 2_000_000

_COLUMNS = ("path", "size", "sha256")


class Amount(NamedTuple):
    """A number of files and the sum of their sizes."""

    n_files: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of a version's files in the next version.

    Attributes:
        same: Files with the path and content they had.
        changed: Files with the path they had and other content, as they are now.
        replaced: The same files as they were.
        added: Files with a new path.
        removed: Files whose path is gone.
        n_new_bytes: Bytes of contents that the first version has nowhere.
    """

    same: Amount
    changed: Amount
    replaced: Amount
    added: Amount
    removed: Amount
    n_new_bytes: int


def sizes(store: Store, record: VersionRecord) -> Int64s:
    """Return the size of each file of a version."""
    read = [_columns(store, part, ("size",))["size"].to_numpy() for part in record.parts]
    return np.concatenate(read) if read else np.zeros(0, np.int64)


def changes(store: Store, old: VersionRecord, new: VersionRecord) -> Changes | None:
    """Count what differs; None where that would compare more than `MOST_COMPARED_FILES` files.

    Parts with the same files on both sides are not read.
    """
    alike = {part.digest for part in old.parts} & {part.digest for part in new.parts}
    before, after = ([part for part in r.parts if part.digest not in alike] for r in (old, new))
    if sum(part.n_files for part in (*before, *after)) > MOST_COMPARED_FILES:
        return None
    there = [part for part in new.parts if part.digest in alike]
    counted = count(_rows(store, before), _rows(store, after))
    same = Amount(
        counted.same.n_files + sum(part.n_files for part in there),
        counted.same.n_bytes + sum(part.n_bytes for part in there),
    )
    return Changes(
        same,
        counted.changed,
        counted.replaced,
        counted.added,
        counted.removed,
        counted.n_new_bytes,
    )


def count(old: pa.Table, new: pa.Table) -> Changes:
    """Count what differs between the rows (path, size, sha256) of two versions."""
    at = pc.index_in(new["path"], old["path"].combine_chunks())
    was = old.take(at.combine_chunks() if isinstance(at, pa.ChunkedArray) else at)
    there = pc.is_valid(at)
    same = pc.fill_null(pc.equal(was["sha256"], new["sha256"]), fill_value=False)
    other = pc.and_(there, pc.invert(same))
    gone = pc.invert(pc.is_in(old["path"], new["path"].combine_chunks()))
    known = pc.is_in(new["sha256"], old["sha256"].combine_chunks())
    return Changes(
        same=_amount(new["size"], same),
        changed=_amount(new["size"], other),
        replaced=_amount(was["size"], other),
        added=_amount(new["size"], pc.invert(there)),
        removed=_amount(old["size"], gone),
        n_new_bytes=_amount(new["size"], pc.invert(known)).n_bytes,
    )


def _amount(file_sizes: pa.ChunkedArray, chosen: pa.ChunkedArray) -> Amount:
    found = file_sizes.filter(chosen)
    return Amount(len(found), pc.sum(found).as_py() or 0)


def _rows(store: Store, chosen: Sequence[Part]) -> pa.Table:
    if not chosen:
        return pa.schema(
            [("path", pa.string()), ("size", pa.int64()), ("sha256", pa.binary(32))]
        ).empty_table()
    return pa.concat_tables([_columns(store, part, _COLUMNS) for part in chosen])


def _columns(store: Store, part: Part, names: Sequence[str]) -> pa.Table:
    return read_columns(parts.read_part_bytes(store, part), names, key=part.table)
