"""Find a stored file by its id: `datum://ID` or `datum://ALIAS`.

The first half of an id is the first half of its execution's, so that no index is needed: the
execution's tables have the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import AliasRecord
from prefect_datasets.core.format.rows import datum_id
from prefect_datasets.core.format.tables import read_table
from prefect_datasets.core.store import Range

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.uri import DatumUri

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Of an execution's id stand in a datum's: 8-4-4 hex digits.
_SHARED = len("00000000-0000-0000")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Where the bytes of one stored file lie.

    Attributes:
        id: Its datum id.
        path: Its path in the execution's outputs; a package's file name for a package.
        stored: Its bytes: a whole object, or a range of a package.
        sha256: Digest of its content, or None for a package.
    """

    id: str
    path: str
    stored: Range
    sha256: bytes | None


def find_datum(store: Store, uri: DatumUri) -> StoredFile:
    """Return where the file lies that `uri` names by its id or an alias.

    Raises:
        NotFoundError: There is no such file, or its alias names one that is gone.
    """
    datum = uri.id.lower()
    if _ID.fullmatch(datum) is None:
        datum = _aliased(store, uri)
    found = next(_candidates(store, datum), None)
    if found is None:
        raise NotFoundError(
            "No such stored file",
            subject=f"{uri} in {store.url}",
            hint="Its outputs were deleted, or it is in another store.",
        )
    return found


def _aliased(store: Store, uri: DatumUri) -> str:
    key = keys.datum_alias_key(uri.id)
    try:
        return AliasRecord.from_json(store.read(key), key=key).target
    except NotFoundError as error:
        raise NotFoundError(
            "No such datum alias",
            subject=f"{uri} in {store.url}",
            hint="Set `valohai.alias` in the metadata of a file to make one.",
        ) from error


def tables_with(store: Store, datum: str) -> Iterator[str]:
    """Yield the keys of the tables that a stored file is looked for in."""
    for execution in _executions(store, datum):
        yield from (info.key for info in store.list(f"{keys.output_prefix(execution)}tables/"))


def _candidates(store: Store, datum: str) -> Iterator[StoredFile]:
    for execution in _executions(store, datum):
        yield from _files(store, execution, datum)
        yield from _packages(store, execution, datum)


def _executions(store: Store, datum: str) -> Iterator[str]:
    for execution in store.list_folders(keys.OUTPUTS):
        if execution[:_SHARED] == datum[:_SHARED]:
            yield execution


def _files(store: Store, execution: str, datum: str) -> Iterator[StoredFile]:
    for info in store.list(f"{keys.output_prefix(execution)}tables/"):
        rows = read_table(store.read(info.key), key=info.key)
        for row in rows.filter(pc.equal(rows["datum"], datum)).to_pylist():
            if row["url"] is not None:
                stored = Range(row["url"], 0, row["size"])
            else:
                stored = Range(row["package"], row["offset"], row["size"])
            yield StoredFile(datum, row["path"], stored, row["sha256"])


def _packages(store: Store, execution: str, datum: str) -> Iterator[StoredFile]:
    for info in store.list(f"{keys.output_prefix(execution)}packages/"):
        if datum_id(execution, info.key) == datum:
            name = info.key.rpartition("/")[2]
            yield StoredFile(datum, name, Range(info.key, 0, info.n_bytes), None)
