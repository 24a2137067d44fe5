"""Trees of the cache that may hold files of a version that is about to be fetched."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.cache import Cache, Entry
from prefect_datasets.core.columns import Int64s, digest_matrix, numbers, one_array, take
from prefect_datasets.core.resolve.others import other_trees
from prefect_datasets.core.resolve.plan import DigestIndex
from prefect_datasets.core.resolve.writer import name_checksum

if TYPE_CHECKING:
    import numpy.typing as npt

    from prefect_datasets.core.format.record import VersionRecord

# Each more costs the reading of its tables, and finds less than the one before.
_MOST_SOURCES = 4
_READ_SECONDS = 0.5e-6


class Source:
    """A tree whose files are found by digest; leased from its first use on.

    Args:
        cache: The cache it is in.
        entry: The tree.
    """

    def __init__(self, cache: Cache, entry: Entry) -> None:
        ready = entry.read_ready()
        self.files = entry.files
        self.tables = entry.parts
        self.n_files = ready.n_files if ready else 0
        self._cache = cache
        self._entry = entry
        self._lease: Path | None = None
        self._is_used = False
        self._paths: pa.Array = pa.nulls(0, pa.string())
        self._index: DigestIndex | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether its tables were read."""
        return self._index is not None

    @property
    def n_rows(self) -> int:
        """Number of rows of its tables; 0 before they are read."""
        return len(self._paths)

    @property
    def read_seconds(self) -> float:
        """About how long reading its tables takes."""
        return self.n_files * _READ_SECONDS

    def is_same(self, record: VersionRecord) -> bool:
        """Tell whether it is a tree of the same version, if another selection of it."""
        return f"-{record.digest[:16]}" in self._entry.name

    def find(self, sizes: Int64s, digests: npt.NDArray[np.uint8]) -> Int64s:
        """Return for each wanted file a row here that has the same bytes, or -1."""
        if self._lease is None:
            self._lease = self._cache.lease(self._entry)
        if self._index is None:
            self._index = self._load()
        found = self._index.find(sizes, digests)
        self._is_used = self._is_used or bool((found >= 0).any())
        return found

    def paths(self, rows: Int64s) -> pa.Array:
        """Return the paths of rows."""
        return take(self._paths, rows)

    def name_checksum(self) -> int:
        """Return the sum of all paths' `name_checksum`s."""
        return name_checksum(self._paths.cast(pa.binary()).to_pylist())

    def _load(self) -> DigestIndex:
        is_there = self._lease is not None and self._entry.read_ready() is not None
        try:
            rows = self._rows() if is_there else None
        except (OSError, ValueError):  # deleted, or damaged: then nothing is found here
            rows = None
        if rows is None:
            return DigestIndex(np.empty(0, np.int64), np.empty((0, 32), np.uint8))
        self._paths = one_array(rows["path"])
        return DigestIndex(numbers(rows["size"]), digest_matrix(rows["sha256"]))

    def _rows(self) -> pa.Table | None:
        import pyarrow.parquet as pq  # noqa: PLC0415  (slow; not every version has a source)

        names = sorted(self._entry.parts.glob("*.parquet"), key=lambda path: int(path.stem))
        columns = ["path", "size", "sha256"]
        tables = [pq.ParquetFile(name).read(columns=columns, use_threads=False) for name in names]
        return pa.concat_tables(tables) if tables else None

    def give_back_unused(self) -> None:
        """End the lease if no file was found here, so that the tree may go to make room."""
        if not self._is_used:
            self.give_back()

    def give_back(self) -> None:
        """End the lease."""
        if self._lease is not None:
            leases.give_back(self._lease)
            self._lease = None


def find_sources(cache: Cache, entry: Entry, record: VersionRecord) -> list[Source]:
    """Return trees to link from, the most promising first."""
    others = (other for other in other_trees(cache, entry, record) if other.ready.exists())
    return [Source(cache, other) for other in islice(others, _MOST_SOURCES)]
