"""The files of a version as columns: an Arrow table, one row per file, in path order.

A million files are a few Arrow buffers here, not a million objects. Every table that the engine
passes around has one of two schemas:

`LISTING`  files on this machine, before they are published: path, size, modified
`ROWS`     files of a version, as they stand in its Parquet tables (docs/format.md)

`path` is relative, `/` between folders, sorted by its UTF-8 bytes, each path once.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from prefect_datasets.core import compute as pc
from prefect_datasets.core.columns import repeated

if TYPE_CHECKING:
    from _hashlib import HASH

LISTING = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("modified", pa.int64(), nullable=False),  # st_mtime_ns
    ]
)

ROWS = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("sha256", pa.binary(32), nullable=False),
        pa.field("crc32", pa.uint32(), nullable=False),
        # id of the file as a stored object of its own: datum://<datum>
        pa.field("datum", pa.string(), nullable=False),
        # key of that object below the store's root; null where only the package holds the file
        pa.field("url", pa.string(), nullable=True),
        # key of the package below the store's root, and where in it the file's bytes begin
        pa.field("package", pa.string(), nullable=True),
        pa.field("offset", pa.int64(), nullable=True),
        # the file's properties, a JSON object
        pa.field("metadata", pa.string(), nullable=True),
    ]
)


# Text of a datum id.
_ID_BYTES = 36


class FilesDigest:
    """The digest of a version's files: of every path, size and sha256, whatever the parts.

    Three running SHA-256 are kept, over the paths (UTF-8, each followed by one zero byte), the
    sizes (64 bits, little endian) and the files' digests (32 bytes each); the result is the SHA-256
    of the three results one after the other. Rows are fed in path order.
    """

    COLUMNS = ("path", "size", "sha256")

    def __init__(self) -> None:
        self._paths = hashlib.sha256()
        self._sizes = hashlib.sha256()
        self._digests = hashlib.sha256()

    def update(self, rows: pa.Table) -> None:
        """Feed the next rows, a table with at least path, size and sha256."""
        for batch in rows.select(list(self.COLUMNS)).to_batches():
            paths, n = batch.column("path"), batch.num_rows
            ended = pc.binary_join_element_wise(paths, repeated("", n), repeated("\0", n))
            _feed(self._paths, pc.cast(ended, pa.binary()))
            self._sizes.update(_fixed_width_bytes(batch.column("size"), 8))
            self._digests.update(_fixed_width_bytes(batch.column("sha256"), 32))

    def hexdigest(self) -> str:
        """Return the digest of all rows so far, as lower case hex."""
        both = self._paths.digest() + self._sizes.digest() + self._digests.digest()
        return hashlib.sha256(both).hexdigest()


def files_digest(tables: Iterable[pa.Table]) -> str:
    """Return the digest of the files in `tables`, which follow each other in path order."""
    digest = FilesDigest()
    for table in tables:
        digest.update(table)
    return digest.hexdigest()


def datum_id(execution: str, path: str) -> str:
    """Return the id of the file or package that execution `execution` stored at `path`.

    The first half is the execution's own, so that an id leads to its execution without an index;
    the second half is of the path.
    """
    tail = hashlib.sha256(path.encode()).digest()[:8]
    return str(uuid.UUID(bytes=uuid.UUID(execution).bytes[:8] + tail))


def datum_ids(execution: str, paths: Iterable[str]) -> list[str]:
    """Return `datum_id` of many paths, several times faster."""
    return datum_column(execution, pa.array(paths, pa.string())).to_pylist()


def datum_column(execution: str, paths: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return `datum_id` of many paths as a column; their text is written by columns, too."""
    names: list[bytes] = pc.cast(paths, pa.binary()).to_pylist()
    tails = b"".join([hashlib.sha256(name).digest()[:8] for name in names]).hex().encode()
    letters = np.frombuffer(tails, np.uint8).reshape(-1, 16)
    text = np.empty((len(names), _ID_BYTES), np.uint8)
    text[:, :19] = np.frombuffer(f"{str(uuid.UUID(execution))[:18]}-".encode(), np.uint8)
    text[:, 19:23], text[:, 23], text[:, 24:] = letters[:, :4], ord("-"), letters[:, 4:]
    ends = np.arange(0, (len(names) + 1) * _ID_BYTES, _ID_BYTES, dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), len(names), buffers)


def _feed(hasher: HASH, column: pa.Array) -> None:
    """Feed the values' bytes of a binary column, one after the other, without copying them."""
    if len(column) == 0:
        return
    _, offsets, values = column.buffers()
    wanted = [column.offset, column.offset + len(column)]
    first, last = np.frombuffer(offsets, np.int32)[wanted].tolist()
    if last > first:
        hasher.update(memoryview(values)[first:last])


def _fixed_width_bytes(column: pa.Array, width: int) -> memoryview:
    """Return the bytes of a column of fixed width without nulls, as they lie in memory."""
    values = column.buffers()[1]
    if values is None:
        return memoryview(b"")
    return memoryview(values)[column.offset * width : (column.offset + len(column)) * width]
