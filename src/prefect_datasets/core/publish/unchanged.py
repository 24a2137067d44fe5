"""Parts of a version that are wholly the same as parts of its base: they are taken as they are.

A night without changes so writes a record and neither files, packages nor tables; of a version that
grows at its end, the parts before the end are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import digest_array
from prefect_datasets.core.format import parts
from prefect_datasets.core.publish.source import Source

if TYPE_CHECKING:
    from prefect_datasets.core.format.record import Part, VersionRecord
    from prefect_datasets.core.publish.plan_version import PartPlan
    from prefect_datasets.core.store import Store


def mark_unchanged(
    planned: Sequence[PartPlan], base: VersionRecord, rows: pa.Table
) -> tuple[PartPlan, ...]:
    """Note for each part which part of the base may be the same: all but contents is compared.

    Args:
        planned: Parts of the new version.
        base: The base, with packages that were made for it later.
        rows: All of its rows (`ROWS`).
    """
    ends = np.cumsum([0, *(part.n_files for part in base.parts)]).tolist()
    of_base = {
        part.first: (part, rows.slice(start, part.n_files))
        for part, start in zip(base.parts, ends, strict=False)
    }
    return tuple(_marked(part, of_base) for part in planned)


def same_as_base(part: PartPlan, store: Store) -> Part | None:
    """Return the part of the base that a part is wholly the same as, or None; reads local files.

    Raises:
        SourceChangedError: A local file is not what it was when it was listed.
    """
    if part.base is None or part.rows["modified"].null_count == part.n_files:
        return part.base
    stored = parts.read_part(store, part.base)
    same = with_digests(part, store)["sha256"].equals(stored["sha256"])
    return part.base if same else None


def executions_of(part: Part) -> set[str]:
    """Return the executions that stored a part's table and package."""
    stored = [part.table, *([part.package.key] if part.package else [])]
    return {key.split("/")[1] for key in stored}


def with_digests(part: PartPlan, store: Store) -> pa.Table:
    """Return path, size and sha256 of a part's files; reads its own ones."""
    source = Source(part, store)

    def digest_of(member: int) -> bytes:
        if source.is_local[member]:
            return source.hash_own(member)[0]
        return source.sha256s[member] or b""

    with ThreadPoolExecutor(source.own.n_threads, "hash") as pool:
        digests = list(pool.map(digest_of, range(part.n_files), chunksize=256))
    columns = [part.rows["path"], part.rows["size"], digest_array(digests)]
    return pa.Table.from_arrays(columns, names=["path", "size", "sha256"])


def _marked(part: PartPlan, of_base: dict[str, tuple[Part, pa.Table]]) -> PartPlan:
    found, rows = of_base.get(part.rows["path"][0].as_py(), (None, None))
    if found is None or rows is None or found.n_files != part.n_files:
        return part
    same = all(part.rows[name].equals(rows[name]) for name in ("path", "size", "metadata"))
    same = same and _has_same_known(part.rows, rows)
    is_packaged = found.package is not None
    if not same or is_packaged != part.is_packaged or _lacks_objects(part, rows):
        return part
    return replace(part, base=found)


def _has_same_known(rows: pa.Table, base: pa.Table) -> bool:
    """Tell whether the files that are known already are the base's; they may be of elsewhere."""
    is_known = pc.is_null(rows["modified"])
    return rows["sha256"].filter(is_known).equals(base["sha256"].filter(is_known))


def _lacks_objects(part: PartPlan, rows: pa.Table) -> bool:
    """Tell whether local files are to have objects of their own that the base has not stored."""
    is_missing = pc.and_(pc.is_valid(part.rows["modified"]), pc.is_null(rows["url"]))
    return part.individual_files and bool(pc.any(is_missing).as_py())
