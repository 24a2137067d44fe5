"""What the files of a part turned out to be, and the rows that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.format import keys
from prefect_datasets.core.format.rows import ROWS, datum_column
from prefect_datasets.core.publish.plan_pieces import Int64s
from prefect_datasets.core.store.keys import key_of_path

if TYPE_CHECKING:
    from prefect_datasets.core.publish.fill import Hashes
    from prefect_datasets.core.publish.plan_version import PartPlan

_Bools = npt.NDArray[np.bool_]
_Digests = npt.NDArray[np.uint8]


class Outcome:
    """Digests of a part's files as they become known; each file is one thread's at a time.

    Inherited files keep the digests of their rows; those of local files are noted as they are read.
    """

    def __init__(self, part: PartPlan) -> None:
        self._part = part
        self._prefix = keys.files_prefix(part.execution)
        self._is_local = np.asarray(part.rows["modified"].is_valid(), np.bool_)
        self._expected, self._is_expected = _digests(part.rows["sha256"])
        self._sha256s = self._expected.copy()
        self.crc32s = np.asarray(part.rows["crc32"].fill_null(0), np.uint32).copy()
        self._is_stored = np.zeros(part.n_files, np.bool_)

    def note(self, members: Int64s, found: Hashes) -> None:
        """Note what local files are."""
        self._sha256s[members] = np.frombuffer(found.sha256s, np.uint8).reshape(-1, 32)
        self.crc32s[members] = np.frombuffer(found.crc32s, np.uint32)

    def note_one(self, member: int, sha256: bytes, crc32: int) -> None:
        """Note what one local file is."""
        self._sha256s[member] = np.frombuffer(sha256, np.uint8)
        self.crc32s[member] = crc32

    def digest_of(self, member: int) -> bytes:
        """Return the SHA-256 of a file, as far as it is known."""
        return self._sha256s[member].tobytes()

    def wants_objects(self, members: Int64s) -> Int64s:
        """Return the files, of these, that are to be stored as objects of their own."""
        if not self._part.individual_files:
            return members[:0]
        return members[self._is_new(members)]

    def note_stored(self, members: Int64s) -> pa.Table:
        """Note that files have objects of their own now; return their rows for the journal."""
        self._is_stored[members] = True
        rows = self._part.rows.take(pa.array(members))
        return self._rows(
            rows,
            self._sha256s[members],
            self.crc32s[members],
            datum=datum_column(self._part.execution, rows["path"]),
            url=self._keys(rows["path"]),
            package=pa.nulls(len(members), pa.string()),
            offset=pa.nulls(len(members), pa.int64()),
            metadata=pa.nulls(len(members), pa.string()),
        )

    def rows(self, package: str | None, offsets: Int64s) -> pa.Table:
        """Return the part's rows (`ROWS`).

        Args:
            package: Key of its package, or None.
            offsets: Where in it the files' contents begin.
        """
        rows = self._part.rows
        datum, url = self._objects()
        return self._rows(
            rows,
            self._sha256s,
            self.crc32s,
            datum=datum,
            url=url,
            package=pa.repeat(package, rows.num_rows) if package else rows["package"],
            offset=pa.array(offsets, pa.int64()) if package else rows["offset"],
            metadata=rows["metadata"],
        )

    def key(self, path: str) -> str:
        """Return the key of the object that a file at `path` gets."""
        return self._prefix + key_of_path(path)

    def _objects(self) -> tuple[Any, Any]:
        """Return datum and url of each file: this attempt's, or those that were there already."""
        rows = self._part.rows
        own = self._is_local & (self._is_stored | self._is_new(np.arange(self._part.n_files)))
        paths = rows["path"].combine_chunks().filter(pa.array(own))
        stored = pa.array(self._is_stored[own])
        keys_of_own = pc.if_else(stored, self._keys(paths), None) if self._is_stored.any() else None
        if own.all():
            urls = pa.nulls(len(own), pa.string()) if keys_of_own is None else keys_of_own
            return datum_column(self._part.execution, paths), urls
        if keys_of_own is None:
            keys_of_own = pa.nulls(len(paths), pa.string())
        mask = pa.array(own)
        datums = datum_column(self._part.execution, paths)
        return (
            pc.replace_with_mask(rows["datum"].combine_chunks(), mask, datums),
            pc.replace_with_mask(rows["url"].combine_chunks(), mask, keys_of_own),
        )

    def _keys(self, paths: pa.Array | pa.ChunkedArray) -> pa.Array:
        return pa.array([self.key(path) for path in paths.to_pylist()], pa.string())

    def _is_new(self, members: Int64s) -> _Bools:
        """Tell which files are local and not what the object stored at their path was."""
        same = (self._sha256s[members] == self._expected[members]).all(axis=1)
        return self._is_local[members] & ~(self._is_expected[members] & same)

    def _rows(
        self, rows: pa.Table, sha256s: _Digests, crc32s: npt.NDArray[np.uint32], **columns: Any
    ) -> pa.Table:
        columns |= {
            "path": rows["path"],
            "size": rows["size"],
            "sha256": _binaries(sha256s),
            "crc32": pa.array(crc32s, pa.uint32()),
        }
        return pa.table([columns[name] for name in ROWS.names], schema=ROWS)


def _digests(column: pa.ChunkedArray) -> tuple[_Digests, _Bools]:
    """Return a column of 32-byte values, zeros where there is none, and where there is one."""
    found = np.asarray(column.is_valid(), np.bool_)
    values = np.zeros((len(found), 32), np.uint8)
    if found.any():
        joined = b"".join(column.drop_null().to_pylist())
        values[found] = np.frombuffer(joined, np.uint8).reshape(-1, 32)
    return values, found


def _binaries(digests: _Digests) -> pa.Array:
    """Return 32-byte values as an Arrow column without copying them."""
    buffer = pa.py_buffer(np.ascontiguousarray(digests))
    return pa.Array.from_buffers(pa.binary(32), len(digests), [None, buffer])
