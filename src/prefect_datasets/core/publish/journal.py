"""What an interrupted publish left, so that the next one does not send it again.

A publish opens an attempt, under the version's name; while it stores single files it adds small
tables to its journal. The next publish of that version finds the open attempts and takes from their
journals and part tables which objects are stored already. The commit closes them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from prefect_datasets.core.errors import ConflictError, DatasetError
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import FORMAT
from prefect_datasets.core.format.rows import ROWS
from prefect_datasets.core.format.tables import read_table, write_table
from prefect_datasets.core.versions.catalog import now, read_record

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.uri import DatasetUri

# A kill loses at most this much of the single files' uploads; an entry costs one small request.
_FLUSH_FILES = 4096
_FLUSH_SECONDS = 5.0


def open_attempt(
    store: Store,
    uri: DatasetUri,
    execution: str,
    earlier: Iterable[str] = (),
    reuses: Iterable[str] = (),
) -> None:
    """Note that `execution` is publishing `uri`, and of which executions it may use objects.

    Args:
        store: The store.
        uri: The version.
        execution: Who publishes it.
        earlier: Attempts whose objects it may use, open when that was planned.
        reuses: Other executions whose objects it may use.

    Raises:
        ConflictError: What an earlier attempt left may have been deleted since.
    """
    used = sorted({*earlier, *reuses} - {execution})
    body = {"format": FORMAT, "execution": execution, "started": now(), "reuses": used}
    key = keys.attempt_key(uri, execution)
    store.write(key, json.dumps(body).encode())
    # `gc` deletes the note of an attempt, then looks for those of others, then deletes objects.
    try:
        for name in earlier:
            check_open(store, uri, name)
    except ConflictError:
        store.delete([key])
        raise


def check_open(store: Store, uri: DatasetUri, execution: str) -> None:
    """Look whether what an attempt stored is still there, or its version is.

    Raises:
        ConflictError: Neither is: `gc` may have deleted it.
    """
    if store.info(keys.attempt_key(uri, execution)) is None and read_record(store, uri) is None:
        raise ConflictError(
            "What was stored for the version may have been deleted by `gc` meanwhile",
            subject=str(uri),
            hint="Publish it again.",
        )


def open_attempts(store: Store, uri: DatasetUri) -> list[str]:
    """Return the executions that began to publish `uri` and didn't end, oldest first."""
    prefix = keys.attempts_prefix(uri)
    names = (info.key.removeprefix(prefix) for info in store.list(prefix))
    return sorted(name.removesuffix(".json") for name in names)


def close_attempts(store: Store, uri: DatasetUri, executions: Iterable[str]) -> None:
    """Forget attempts and their journals, once the version is committed."""
    for execution in executions:
        journal = [info.key for info in store.list(keys.journal_prefix(execution, uri))]
        store.delete([*journal, keys.attempt_key(uri, execution)])


def read_journals(
    store: Store, uri: DatasetUri | None, executions: Sequence[str]
) -> pa.Table | None:
    """Return the single files that earlier attempts stored (`ROWS`), each path once, or None.

    An entry that can't be read was cut off by the kill: it counts as not written.
    """
    tables: list[pa.Table] = []
    for execution in executions:
        for prefix in (keys.journal_prefix(execution, uri), keys.tables_prefix(execution, uri)):
            for info in store.list(prefix):
                try:
                    tables.append(read_table(store.read(info.key), key=info.key))
                except DatasetError:
                    continue
    return _newest_of_each_path(tables) if tables else None


class Journal:
    """Notes stored files; entries are written when they are worth a request. Thread-safe.

    Args:
        store: Where to.
        execution: The execution that stores the files.
        uri: The version they are stored for, or None for files in no version.
        part: Number of the part, so that parts published elsewhere don't meet.
    """

    def __init__(self, store: Store, execution: str, uri: DatasetUri | None, part: int) -> None:
        self._store = store
        self._prefix = f"{keys.journal_prefix(execution, uri)}{part}-"
        self._lock = threading.Lock()
        self._tables: list[pa.Table] = []
        self._n_entries = 0
        self._flushed = time.monotonic()

    def add(self, rows: pa.Table) -> None:
        """Note that these files (`ROWS`) are stored."""
        with self._lock:
            self._tables.append(rows)
            due = time.monotonic() - self._flushed > _FLUSH_SECONDS
            if not due and sum(table.num_rows for table in self._tables) < _FLUSH_FILES:
                return
            tables, self._tables = self._tables, []
            self._n_entries += 1
            key = f"{self._prefix}{self._n_entries}.parquet"
            self._flushed = time.monotonic()
        self._store.write(key, write_table(_newest_of_each_path(tables)))


def _newest_of_each_path(tables: Sequence[pa.Table]) -> pa.Table:
    rows = pa.concat_tables(tables)
    last = (
        rows.append_column("row", pa.array(range(rows.num_rows), pa.int64()))
        .group_by("path", use_threads=False)
        .aggregate([("row", "max")])
        .sort_by("path")
    )
    return rows.select(ROWS.names).take(last["row_max"].combine_chunks())
