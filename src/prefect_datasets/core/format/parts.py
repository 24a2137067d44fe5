"""Read the rows of a committed version from its tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from prefect_datasets.core import compute as pc
from prefect_datasets.core.columns import Int64s, int64_array, mask, repeated, strings
from prefect_datasets.core.errors import IntegrityError, NotFoundError
from prefect_datasets.core.format.keys import together_key
from prefect_datasets.core.format.package import layout
from prefect_datasets.core.format.rows import ROWS, FilesDigest
from prefect_datasets.core.format.tables import read_columns, read_table

if TYPE_CHECKING:
    from prefect_datasets.core.format.record import Part, VersionRecord
    from prefect_datasets.core.store import Store


def read_rows(store: Store, record: VersionRecord) -> pa.Table:
    """Return all rows of a version (`ROWS`); raises as `read_part` does."""
    if not record.parts:
        return ROWS.empty_table()
    return pa.concat_tables(iter_parts(store, record))


def iter_parts(store: Store, record: VersionRecord) -> Iterator[pa.Table]:
    """Yield the rows of a version part by part; raises as `read_part` does."""
    return (read_part(store, part) for part in record.parts)


def read_part(store: Store, part: Part) -> pa.Table:
    """Return the rows of one part (`ROWS`), with its package even if that was made later.

    Raises:
        NotFoundError: The table is gone.
        IntegrityError: It is not the one that was committed.
    """
    return rows_of_table(read_part_bytes(store, part), part)


def read_stored(store: Store, part: Part) -> pa.Table:
    """Return the rows of one part as its table has them; raises as `read_part` does."""
    return read_table(read_part_bytes(store, part), key=part.table)


def read_part_bytes(store: Store, part: Part) -> bytes:
    """Return the table of one part as it is stored; raises as `read_part` does."""
    try:
        data = store.read(part.table)
    except NotFoundError as error:
        raise NotFoundError(
            "The table of a committed version is gone",
            subject=f"{part.table} in {store.url}",
            hint="Restore the object from a backup, or delete the version.",
        ) from error
    check_table(data, part)
    return data


def digest_of_parts(store: Store, parts: Sequence[Part]) -> str:
    """Return the digest of all files of a version's parts, once each table was read back.

    The digest of a single part is the version's own. Of the tables of several, which are what
    `write_table` wrote if their digests are right, only what the digest is of is read.

    Raises:
        NotFoundError: A table is gone.
        IntegrityError: It is not the one that was written.
    """
    digest = FilesDigest()
    for part in parts:
        data = read_part_bytes(store, part)
        if len(parts) == 1:
            return part.digest
        digest.update(read_columns(data, FilesDigest.COLUMNS, key=part.table))
    return digest.hexdigest()


def together(rows: pa.Table, part: Part) -> tuple[str, Int64s] | None:
    """Tell which rows of a part's table also lie together, in an object beside the package.

    Returns:
        The object's key and the rows, or None if there is no such object.
    """
    if part.package is None:
        return None
    key = together_key(part.package.key)
    if key not in _packages_of(rows):
        return None
    return key, np.flatnonzero(mask(pc.is_in(rows["package"], strings([key]))))


def _packages_of(rows: pa.Table) -> list[str | None]:
    return pc.unique(rows["package"]).to_pylist()


def check_table(data: bytes | memoryview, part: Part) -> None:
    """Raise `IntegrityError` unless `data` is the table that was committed."""
    if hashlib.sha256(data).hexdigest() != part.table_sha256:
        raise IntegrityError(
            "The table is not the one that was committed",
            subject=part.table,
            hint="Restore the object from a backup, or delete the version.",
        )


def rows_of_table(data: bytes | memoryview, part: Part) -> pa.Table:
    """Return the rows in the table of a part, with their places in its package.

    Those may not be in the table: the package may be younger, or the files lie together elsewhere.
    """
    return in_package(read_table(data, key=part.table), part)


def in_package(rows: pa.Table, part: Part) -> pa.Table:
    """Return rows of a part's table with their places in its package, if it has one."""
    package = part.package
    if package is None or _packages_of(rows) == [package.key]:
        return rows
    data_offsets = layout(rows["path"], rows["size"]).data_offsets
    keys = repeated(package.key, rows.num_rows)
    at = ROWS.get_field_index
    rows = rows.set_column(at("package"), ROWS.field("package"), keys)
    return rows.set_column(at("offset"), ROWS.field("offset"), int64_array(data_offsets))
