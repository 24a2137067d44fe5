"""Store the new files of a version together once more, where they lie scattered in its package.

Who has an earlier version fetches what is new. In the package that is a thousand small reads, for
it is in path order; together it is a few large ones. The object is a plain zip as well, beside the
package, and the rows of its members name it as their place (docs/format.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import (
    Int64s,
    bool_array,
    is_valid,
    mask,
    mask_of_rows,
    numbers,
    one_array,
    take,
)
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.rows import ROWS
from prefect_datasets.core.progress import NoProgress
from prefect_datasets.core.publish.own_files import own_files
from prefect_datasets.core.publish.pack import store_part
from prefect_datasets.core.publish.reference import heads_of, is_in
from prefect_datasets.core.reads import CostModel, Places, plan_fetch

if TYPE_CHECKING:
    from prefect_datasets.core.publish.plan_version import PartPlan
    from prefect_datasets.core.store import Store

# It is stored once more, so it is to be a small share of what is stored anyway.
_LARGEST_SHARE = 0.25
# Fewer reads than this are done at once anyway.
_LEAST_READS_SAVED = 16

_COST = CostModel()
_QUIET = NoProgress()


def store_together(part: PartPlan, rows: pa.Table, *, store: Store) -> pa.Table:
    """Store the files of a stored part that the reference lacks together, if that is worth it.

    Args:
        part: The part.
        rows: Its rows (`ROWS`), with their places in its package.
        store: Where it is stored.

    Returns:
        The rows, with the places that the new files have now.

    Raises:
        SourceChangedError: A local file is not what it was a moment ago.
        StoreError: The store failed.
    """
    new = new_rows(part, rows)
    if not is_worth_it(rows, new):
        return rows
    key = keys.together_key(rows["package"][0].as_py())
    again = replace(part, rows=take(part.rows, new), individual_files=False)
    found = store_part(again, store=store, progress=_QUIET, key=key)
    differing = pc.invert(pc.equal(found["sha256"], take(rows, new)["sha256"]))
    if pc.any(differing).as_py():
        raise own_files(again).changed(int(np.flatnonzero(mask(differing))[0]))
    return _placed(rows, new, found)


def new_rows(part: PartPlan, rows: pa.Table) -> Int64s:
    """Return the local files of a part whose content the reference version lacks."""
    if not part.reference:
        return np.empty(0, np.int64)
    is_known = is_in(heads_of(rows["sha256"]), part.reference)
    return np.flatnonzero(is_valid(part.rows["modified"]) & ~is_known)


def is_worth_it(rows: pa.Table, new: Int64s) -> bool:
    """Tell whether reading the new files out of the package is more than a few requests."""
    sizes = numbers(rows["size"])
    n_bytes = int(sizes[new].sum())
    if not len(new) or n_bytes > _LARGEST_SHARE * int(sizes.sum()):
        return False
    one_object = np.zeros(len(new), np.int64)
    places = Places(new, ("",), one_object, numbers(rows["offset"])[new], sizes[new])
    n_reads = plan_fetch(places, _COST).n_reads
    return n_reads - n_bytes // _COST.request_bytes >= _LEAST_READS_SAVED


def _placed(rows: pa.Table, new: Int64s, found: pa.Table) -> pa.Table:
    where = bool_array(mask_of_rows(new, rows.num_rows))
    for name in ("package", "offset"):
        column = pc.replace_with_mask(one_array(rows[name]), where, one_array(found[name]))
        rows = rows.set_column(ROWS.get_field_index(name), ROWS.field(name), column)
    return rows
