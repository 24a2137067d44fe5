"""Find a stored file by its id: `datum://ID` or `datum://ALIAS`.

The first half of an id is the first half of its execution's, so that no index is needed: the
execution's tables have the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from prefect_datasets.core.columns import strings
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
    return find_data(store, [uri])[0]


def find_data(store: Store, uris: Sequence[DatumUri]) -> list[StoredFile]:
    """Return where files lie, in the order of `uris`; each table is read once for all of them.

    Raises:
        NotFoundError: There is no such file, or its alias names one that is gone.
    """
    asked = [_id_of(store, uri) for uri in uris]
    found = _find(store, set(asked))
    for uri, datum in zip(uris, asked, strict=True):
        if datum not in found:
            raise NotFoundError(
                "No such stored file",
                subject=f"{uri} in {store.url}",
                hint="Its outputs were deleted, or it is in another store.",
            )
    return [found[datum] for datum in asked]


def _id_of(store: Store, uri: DatumUri) -> str:
    datum = uri.id.lower()
    return datum if _ID.fullmatch(datum) else _aliased(store, uri)


def _find(store: Store, wanted: set[str]) -> dict[str, StoredFile]:
    found: dict[str, StoredFile] = {}
    for file in _candidates(store, wanted):
        found.setdefault(file.id, file)
        if len(found) == len(wanted):
            break
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
    for execution in _executions(store, {datum}):
        yield from (info.key for info in store.list(f"{keys.output_prefix(execution)}tables/"))


def _candidates(store: Store, wanted: set[str]) -> Iterator[StoredFile]:
    for execution in _executions(store, wanted):
        yield from _files(store, execution, wanted)
        yield from _packages(store, execution, wanted)


def _executions(store: Store, wanted: set[str]) -> Iterator[str]:
    shared = {datum[:_SHARED] for datum in wanted}
    for execution in store.list_folders(keys.OUTPUTS):
        if execution[:_SHARED] in shared:
            yield execution


def _files(store: Store, execution: str, wanted: set[str]) -> Iterator[StoredFile]:
    values = strings(sorted(wanted))
    for info in store.list(f"{keys.output_prefix(execution)}tables/"):
        rows = read_table(store.read(info.key), key=info.key)
        for row in rows.filter(pc.is_in(rows["datum"], values)).to_pylist():
            if row["url"] is not None:
                stored = Range(row["url"], 0, row["size"])
            else:
                stored = Range(row["package"], row["offset"], row["size"])
            yield StoredFile(row["datum"], row["path"], stored, row["sha256"])


def _packages(store: Store, execution: str, wanted: set[str]) -> Iterator[StoredFile]:
    for info in store.list(f"{keys.output_prefix(execution)}packages/"):
        if (datum := datum_id(execution, info.key)) in wanted:
            name = info.key.rpartition("/")[2]
            yield StoredFile(datum, name, Range(info.key, 0, info.n_bytes), None)
