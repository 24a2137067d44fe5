"""Objects below a prefix that were published before and are as they were: they are not read again.

Beside the table of a part lie the stamps that its objects had when they were read: 32 letters that
name the server and the prefix, then a signed 64-bit integer (little endian) for each row of the
table, 0 for a file that came from elsewhere. Without them everything is read; nothing else needs
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import Int64s, bool_array, int64_array, is_valid, nulls, numbers
from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.format import keys, parts
from prefect_datasets.core.format.tables import read_table
from prefect_datasets.core.store_spec import identity

if TYPE_CHECKING:
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.publish.plan_version import PartPlan
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.uri import DatasetUri

_NAME_BYTES = 32
# What is known of a stored file beside path, size and metadata.
_KNOWN = ("sha256", "crc32", "datum", "url", "package", "offset")


def write_stamps(part: PartPlan, table: str, *, store: Store) -> None:
    """Keep the stamps of a part's objects, for the next publish.

    Args:
        part: The part.
        table: Key of its table.
        store: Where that is.
    """
    column = part.rows["stamp"]
    if part.origin is None or column.null_count == len(column):
        return
    stamps: Int64s = np.where(is_valid(column), numbers(column), 0)
    name = identity(part.origin).encode()
    store.write(keys.stamps_key(table), name + stamps.astype("<i8").tobytes())


def published(
    store: Store, origin: Store, records: Iterable[VersionRecord | None]
) -> Iterator[pa.Table]:
    """Yield the rows of versions (`ROWS`, and `stamp`) whose parts have stamps of this prefix."""
    for record in records:
        for part in record.parts if record else ():
            stamps = _read_stamps(store, origin, part.table)
            if stamps is not None:
                yield _stamped(parts.read_part(store, part), stamps)


def attempted(
    store: Store, origin: Store, uri: DatasetUri, executions: Iterable[str]
) -> Iterator[pa.Table]:
    """Yield the rows of parts that attempts to publish a version left whole, likewise."""
    for execution in executions:
        for info in store.list(keys.tables_prefix(execution, uri)):
            stamps = _read_stamps(store, origin, info.key)
            with suppress(DatasetError):  # cut off by a kill: it counts as not written
                if stamps is not None:
                    yield _stamped(read_table(store.read(info.key), key=info.key), stamps)


def recognise(files: pa.Table, known: Iterable[pa.Table], *, with_objects: bool) -> pa.Table:
    """Take what is stored for objects that have not changed; they count as inherited then.

    Args:
        files: The objects (`SOURCES`).
        known: What was published of this prefix before, the most important first.
        with_objects: Leave out what is stored in packages alone.
    """
    for rows in known:
        at = pc.index_in(files["path"], rows["path"].combine_chunks()).combine_chunks()
        same = is_valid(at) & is_valid(files["modified"])
        for name in ("size", "stamp"):
            same &= numbers(rows[name].combine_chunks().take(at)) == numbers(files[name])
        if with_objects:
            same &= is_valid(rows["url"].combine_chunks().take(at))
        files = _taken(files, rows, at, bool_array(same))
    return files


def _taken(files: pa.Table, rows: pa.Table, at: pa.Array, same: pa.Array) -> pa.Table:
    """Return files with what the rows say of those that are the same."""
    nothing = nulls(files.num_rows, pa.int64())
    columns = {"modified": pc.if_else(same, nothing, files["modified"])}
    for name in _KNOWN:
        known = rows[name].combine_chunks().take(at)
        columns[name] = pc.if_else(same, known, files[name])
    for name, column in columns.items():
        number = files.schema.get_field_index(name)
        files = files.set_column(number, files.schema.field(name), column)
    return files


def _stamped(rows: pa.Table, stamps: Int64s) -> pa.Table:
    if len(stamps) != rows.num_rows:
        return rows.append_column("stamp", nulls(rows.num_rows, pa.int64()))
    return rows.append_column("stamp", int64_array(stamps))


def _read_stamps(store: Store, origin: Store, table: str) -> Int64s | None:
    """Return the stamps beside a table, if they are of this prefix."""
    try:
        data = store.read(keys.stamps_key(table))
    except DatasetError:
        return None
    if data[:_NAME_BYTES] != identity(origin).encode() or len(data) % 8:
        return None
    return np.frombuffer(data[_NAME_BYTES:], "<i8").astype(np.int64)
