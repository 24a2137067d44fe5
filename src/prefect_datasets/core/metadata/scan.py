"""Which files lie in a directory: a table in path order, or one error that names all it refuses.

Metadata files are told apart (docs/metadata.md): they are no files of a version.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format.rows import LISTING
from prefect_datasets.core.metadata.names import MAX_PATH_BYTES
from prefect_datasets.core.metadata.walk import (
    METADATA_FILE,
    SIDECAR_SUFFIX,
    UNFINISHED_PREFIX,
    Chunk,
    Walked,
    walk,
)

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

__all__ = [
    "MAX_PATH_BYTES",
    "METADATA_FILE",
    "SIDECAR_SUFFIX",
    "UNFINISHED_PREFIX",
    "Scan",
    "check_directory",
    "refusal",
    "scan",
]

_NAMED_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Scan:
    """The files of a directory.

    Attributes:
        root: The directory; of a store's prefix its URL.
        listing: Its files, without metadata files: a `LISTING` table in path order. A link counts
            as the file it names.
        metadata_paths: Metadata files, relative to `root`, in path order.
        warnings: What the user should know, one line each.
    """

    root: Path | str
    listing: pa.Table
    metadata_paths: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def full_root(self) -> str:
        """What stands before the path of a file that is named in full."""
        return os.path.join(Path(self.root).absolute(), "")  # noqa: PTH118  (with its `/`)

    def open(self, path: str) -> BinaryIO:
        """Open a metadata file."""
        return Path(self.root, path).open("rb")

    def read_all(self, paths: Sequence[str]) -> Iterator[bytes | Exception]:
        """Yield the content of metadata files, or why one can't be read."""
        for path in paths:
            try:
                yield Path(self.root, path).read_bytes()
            except OSError as error:
                yield error


def scan(root: Path, walked: Walked | None = None) -> Scan:
    """List the files below `root`; none at all is no error.

    Args:
        root: The directory.
        walked: What a walk through it has found a moment ago; left out, it is done.

    Raises:
        InvalidInputError: `root` is no directory, or holds something that can't be published: all
            such names are listed.
    """
    check_directory(root)
    found = walk(os.fsencode(root)) if walked is None else walked
    if found.refused:
        raise refusal(str(root), found.refused)
    batches = [_batch(chunk) for chunk in found.chunks]
    return Scan(
        root=root,
        listing=pa.Table.from_batches(batches, schema=LISTING),
        metadata_paths=tuple(path.decode() for path in sorted(found.metadata)),
        warnings=tuple(found.warnings),
    )


def check_directory(root: Path) -> None:
    """Raise `InvalidInputError` unless `root` is a directory."""
    if root.is_dir():
        return
    what = "Not a directory" if root.exists() else "No such directory"
    raise InvalidInputError(what, subject=str(root), hint="Name the directory with the files.")


def refusal(root: str, refused: Sequence[str]) -> InvalidInputError:
    """Return the error for names that can't be published, each with what is wrong with it."""
    named = sorted(refused)[:_NAMED_AT_MOST]
    if len(refused) > _NAMED_AT_MOST:
        named.append(f"and {len(refused) - _NAMED_AT_MOST} more")
    return InvalidInputError(
        "Some names can't be published" if len(refused) > 1 else "A name can't be published",
        subject=root,
        hint="Rename, replace or remove:",
        faults=tuple(named),
    )


def _batch(chunk: Chunk) -> pa.RecordBatch:
    ends = np.zeros(len(chunk.lengths) + 1, np.int32)
    np.cumsum(chunk.lengths, out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(chunk.paths)]
    paths = pa.Array.from_buffers(pa.string(), len(chunk.lengths), buffers)
    columns = [paths, _int64(chunk.sizes), _int64(chunk.modified)]
    return pa.RecordBatch.from_arrays(columns, schema=LISTING)


def _int64(values: array[int]) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])
