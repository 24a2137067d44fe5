"""What the files of a part turned out to be, and the rows that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import (
    Bools,
    Int64s,
    bool_array,
    digest_matrix,
    int64_array,
    is_valid,
    nulls,
    number_array,
    numbers,
    one_array,
    optional_strings,
    repeated,
    strings,
    take,
)
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.rows import ROWS, datum_column
from prefect_datasets.core.store.keys import key_of_path

if TYPE_CHECKING:
    from prefect_datasets.core.publish.fill import Hashes
    from prefect_datasets.core.publish.plan_version import PartPlan

_Digests = npt.NDArray[np.uint8]


class Outcome:
    """Digests of a part's files as they become known; each file is one thread's at a time.

    Inherited files keep the digests of their rows; those of local files are noted as they are read.
    """

    def __init__(self, part: PartPlan) -> None:
        self._part = part
        self._prefix = keys.files_prefix(part.execution)
        self._is_local = is_valid(part.rows["modified"])
        self._expected, self._is_expected = _digests(part.rows["sha256"])
        self._sha256s = self._expected.copy()
        self.crc32s: npt.NDArray[np.uint32] = numbers(part.rows["crc32"], np.uint32).copy()
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
        rows = take(self._part.rows, members)
        return self._rows(
            rows,
            self._sha256s[members],
            self.crc32s[members],
            datum=datum_column(self._part.execution, rows["path"]),
            url=strings(self.key(path) for path in rows["path"].to_pylist()),
            package=nulls(len(members), pa.string()),
            offset=nulls(len(members), pa.int64()),
            metadata=nulls(len(members), pa.string()),
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
            package=repeated(package, rows.num_rows) if package else rows["package"],
            offset=int64_array(offsets) if package else rows["offset"],
            metadata=rows["metadata"],
        )

    def key(self, path: str) -> str:
        """Return the key of the object that a file at `path` gets."""
        return self._prefix + key_of_path(path)

    def _objects(self) -> tuple[Any, Any]:
        """Return datum and url of each file: this attempt's, or those that were there already."""
        rows = self._part.rows
        own = self._is_local & (self._is_stored | self._is_new(np.arange(self._part.n_files)))
        mask = bool_array(own)
        paths = one_array(rows["path"]).filter(mask)
        datums, urls = datum_column(self._part.execution, paths), self._urls(paths, own)
        if own.all():
            return datums, urls
        return (
            pc.replace_with_mask(one_array(rows["datum"]), mask, datums),
            pc.replace_with_mask(one_array(rows["url"]), mask, urls),
        )

    def _urls(self, paths: pa.Array, own: Bools) -> pa.Array:
        """Return the keys of own files' objects, null where there is none."""
        is_stored = self._is_stored[own]
        if not is_stored.any():
            return nulls(len(paths), pa.string())
        both = zip(paths.to_pylist(), is_stored.tolist(), strict=True)
        return optional_strings([self.key(path) if stored else None for path, stored in both])

    def _is_new(self, members: Int64s) -> Bools:
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
            "crc32": number_array(crc32s, pa.uint32()),
        }
        return pa.table([columns[name] for name in ROWS.names], schema=ROWS)


def _digests(column: pa.ChunkedArray) -> tuple[_Digests, Bools]:
    """Return a column of 32-byte values, zeros where there is none, and where there is one."""
    found = is_valid(column)
    values = np.zeros((len(found), 32), np.uint8)
    if found.any():
        values[found] = digest_matrix(column)[found]
    return values, found


def _binaries(digests: _Digests) -> pa.Array:
    """Return 32-byte values as an Arrow column without copying them."""
    buffer = pa.py_buffer(np.ascontiguousarray(digests))
    return pa.Array.from_buffers(pa.binary(32), len(digests), [None, buffer])
