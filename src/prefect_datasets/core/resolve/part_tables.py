"""The tables of a version as fetching wants them: few columns, the selected rows."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from prefect_datasets.core import compute as pc
from prefect_datasets.core.columns import (
    Int64s,
    is_valid,
    mask,
    numbers,
    one_array,
    pick,
    take,
)
from prefect_datasets.core.errors import IntegrityError
from prefect_datasets.core.format import parts
from prefect_datasets.core.format.tables import read_table, write_table
from prefect_datasets.core.globs import Globs
from prefect_datasets.core.reads import Places
from prefect_datasets.core.resolve.fetch import Members
from prefect_datasets.core.resolve.plan import in_shard, parts_of, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from prefect_datasets.core.cache.cache import Selection
    from prefect_datasets.core.format.record import Part, VersionRecord
    from prefect_datasets.core.resolve.ahead import FirstTable
    from prefect_datasets.core.store import Store

# Beyond any store's largest object; sums of two stay in 64 bits.
_MOST_BYTES = 1 << 60


class PartTables:
    """Reads the tables of a version, from where an earlier attempt left them or from the store.

    Args:
        record: The version.
        selection: Which of its files are wanted.
        store: The store.
        folder: Where to keep the tables, as they are for a whole version, else those of the
            selected rows.
        elsewhere: Folders where they may lie already.
        first: The first of them, if it is being fetched already.
    """

    def __init__(
        self,
        record: VersionRecord,
        selection: Selection,
        *,
        store: Store,
        folder: Path,
        elsewhere: list[Path],
        first: FirstTable | None = None,
    ) -> None:
        self._record = record
        self._selection = selection
        self._store = store
        self._folder = folder
        self._elsewhere = elsewhere
        self._first = first
        self._globs = Globs(selection.include) if selection.include else None
        self._weights: dict[int, int] | None = None
        self._n_included = 0
        self.n_fetched_bytes = 0

    @property
    def indexes(self) -> list[int]:
        """The parts that may hold selected files."""
        return parts_of(self._record, self._selection)

    @property
    def matches_any(self) -> bool:
        """Whether any file has a wanted name, in this shard or another; known after all loads."""
        return self._globs is None or self._n_included > 0

    def load(self, index: int) -> tuple[Members, Int64s]:
        """Return a part's columns and its selected rows, and keep its table."""
        raw = self._raw(index)
        part = self._record.parts[index]
        stored = read_table(raw, key=part.table)
        table = parts.in_package(stored, part)
        rows = self._select(index, table)
        kept = self._folder / f"{index}.parquet"
        if not kept.exists():
            kept.write_bytes(raw if self._selection.is_all else write_table(take(table, rows)))
        together = _together(stored, part)
        if together is not None:
            self._check_places(index, together.starts, together.sizes)
        return self._members(index, table, together), rows

    def _raw(self, index: int) -> bytes:
        part = self._record.parts[index]
        for folder in [self._folder, *self._elsewhere]:
            with suppress(OSError, IntegrityError):
                data = (folder / f"{index}.parquet").read_bytes()
                parts.check_table(data, part)
                return data
        self.n_fetched_bytes += part.table_bytes
        with suppress(IntegrityError):
            if self._first and (data := self._first.take(part.table)):
                parts.check_table(data, part)
                return data
        return parts.read_part_bytes(self._store, part)

    # -- selecting --------------------------------------------------------------------------

    def _select(self, index: int, table: pa.Table) -> Int64s:
        rows = self._included(table)
        if self._selection.shard is None:
            return rows
        weights = self._all_weights()
        before = sum(weight for other, weight in weights.items() if other < index)
        sizes = numbers(table["size"])[rows]
        return rows[in_shard(sizes, before, sum(weights.values()), self._selection.shard)]

    def _included(self, table: pa.Table) -> Int64s:
        if self._globs is None:
            return np.arange(table.num_rows, dtype=np.int64)
        rows = np.flatnonzero(mask(self._globs.filter(table["path"])))
        self._n_included += len(rows)
        return rows

    def _all_weights(self) -> dict[int, int]:
        """Return what the selected files of each part weigh in the division into shards."""
        if self._weights is None:
            self._weights = dict(self._iter_weights())
        return self._weights

    def _iter_weights(self) -> Iterator[tuple[int, int]]:
        for index, part in enumerate(self._record.parts):
            if self._globs is None:
                yield index, part.n_bytes + part.n_files
            else:
                table = parts.rows_of_table(self._raw(index), part)
                yield index, weight_of(numbers(table["size"])[self._included(table)])

    # -- columns ----------------------------------------------------------------------------

    def _members(self, index: int, table: pa.Table, together: Places | None) -> Members:
        encoded = pc.dictionary_encode(one_array(table["package"]))
        packages = tuple(encoded.dictionary.to_pylist())
        is_packaged = is_valid(encoded)
        offsets = np.where(is_packaged, numbers(table["offset"]), 0)
        sizes = numbers(table["size"])
        self._check_places(index, offsets, sizes)
        return Members(
            part=index,
            paths=one_array(table["path"]),
            sizes=sizes,
            digests=one_array(table["sha256"]),
            crc32s=numbers(table["crc32"], np.uint32),
            packages=packages,
            package_of=np.where(is_packaged, numbers(encoded.indices, np.int32), -1).astype(
                np.int64
            ),
            offsets=offsets,
            urls=partial(pick, one_array(table["url"])),
            together=together,
        )

    def _check_places(self, index: int, offsets: Int64s, sizes: Int64s) -> None:
        if len(sizes) and max(int(offsets.max()), int(sizes.max())) > _MOST_BYTES:
            raise IntegrityError(
                "The table holds sizes or offsets that no file can have",
                subject=self._record.parts[index].table,
                hint="Somebody wrote to the store by hand; publish the version again.",
            )


def _together(stored: pa.Table, part: Part) -> Places | None:
    """Return where rows of a part lie apart from its package, by its table as it is stored."""
    found = parts.together(stored, part)
    if found is None:
        return None
    key, rows = found
    offsets, sizes = numbers(stored["offset"])[rows], numbers(stored["size"])[rows]
    return Places(rows, (key,), np.zeros(len(rows), np.int64), offsets, sizes)
