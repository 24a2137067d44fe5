"""What most who fetch a new version will have already: its base, else the dataset's newest one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prefect_datasets.core.columns import digest_matrix
from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.format import parts
from prefect_datasets.core.format.tables import read_columns
from prefect_datasets.core.uri import LATEST, DatasetUri
from prefect_datasets.core.versions import catalog

if TYPE_CHECKING:
    import pyarrow as pa

    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.store import Store

# Eight bytes of each file travel with every part of the plan.
_MOST_FILES = 1_000_000

Heads = npt.NDArray[np.uint64]


def reference_of(digests: Iterable[pa.Array | pa.ChunkedArray]) -> bytes:
    """Return what a plan says of a reference with these digests (`PartPlan.reference`)."""
    heads = [heads_of(some) for some in digests]
    n_files = sum(map(len, heads))
    if not 0 < n_files <= _MOST_FILES:
        return b""
    return np.unique(np.concatenate(heads)).tobytes()


def reference_of_newest(store: Store, dataset: str) -> bytes:
    """Return the same of the newest version of a dataset; it may be missing or damaged."""
    try:
        record = catalog.find(store, DatasetUri(dataset, LATEST))
        return reference_of(_digests(store, record)) if record.n_files <= _MOST_FILES else b""
    except DatasetError:  # a reference saves requests, and is not needed for anything else
        return b""


def heads_of(digests: pa.Array | pa.ChunkedArray) -> Heads:
    """Return the first eight bytes of SHA-256 digests as numbers."""
    return np.ascontiguousarray(digest_matrix(digests)[:, :8]).view(np.uint64).ravel()


def is_in(heads: Heads, reference: bytes) -> npt.NDArray[np.bool_]:
    """Tell which digests a reference has; a few others may be taken for one of them."""
    known = np.frombuffer(reference, np.uint64)
    if not len(known):
        return np.zeros(len(heads), np.bool_)
    at = np.minimum(np.searchsorted(known, heads), len(known) - 1)
    return known[at] == heads


def _digests(store: Store, record: VersionRecord) -> Iterable[pa.ChunkedArray]:
    for part in record.parts:
        data = parts.read_part_bytes(store, part)
        yield read_columns(data, ["sha256"], key=part.table)["sha256"]
