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
    Walk,
)

if TYPE_CHECKING:
    from array import array

__all__ = [
    "MAX_PATH_BYTES",
    "METADATA_FILE",
    "SIDECAR_SUFFIX",
    "UNFINISHED_PREFIX",
    "Scan",
    "check_directory",
    "scan",
]

_NAMED_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Scan:
    """The files of a directory.

    Attributes:
        root: The directory.
        listing: Its files, without metadata files: a `LISTING` table in path order. A link counts
            as the file it names.
        metadata_paths: Metadata files, relative to `root`, in path order.
        warnings: What the user should know, one line each.
    """

    root: Path
    listing: pa.Table
    metadata_paths: tuple[str, ...]
    warnings: tuple[str, ...]


def scan(root: Path) -> Scan:
    """List the files below `root`; none at all is no error.

    Raises:
        InvalidInputError: `root` is no directory, or holds something that can't be published: all
            such names are listed.
    """
    check_directory(root)
    walk = Walk(os.fsencode(root))
    batches = [_batch(chunk) for chunk in walk.chunks()]
    if walk.refused:
        raise _refusal(root, walk.refused)
    return Scan(
        root=root,
        listing=pa.Table.from_batches(batches, schema=LISTING),
        metadata_paths=tuple(path.decode() for path in sorted(walk.metadata)),
        warnings=tuple(walk.warnings),
    )


def check_directory(root: Path) -> None:
    """Raise `InvalidInputError` unless `root` is a directory."""
    if root.is_dir():
        return
    what = "Not a directory" if root.exists() else "No such directory"
    raise InvalidInputError(what, subject=str(root), hint="Name the directory with the files.")


def _refusal(root: Path, refused: list[str]) -> InvalidInputError:
    named = sorted(refused)[:_NAMED_AT_MOST]
    if len(refused) > _NAMED_AT_MOST:
        named.append(f"and {len(refused) - _NAMED_AT_MOST} more")
    return InvalidInputError(
        "Some names can't be published" if len(refused) > 1 else "A name can't be published",
        subject=str(root),
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
