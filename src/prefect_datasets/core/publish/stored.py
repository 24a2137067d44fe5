"""Files of a directory that went to the store, and from the directory, before it is published."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format.rows import LISTING
from prefect_datasets.core.format.tables import path_faults
from prefect_datasets.core.metadata.scan import Scan

# What is known of a stored file beside path, size and metadata.
_KNOWN = ("sha256", "crc32", "datum", "url", "package", "offset")


def with_stored(found: Scan, stored: pa.Table) -> tuple[Scan, pa.Table]:
    """Count stored files among those of a directory.

    Args:
        found: What lies in the directory.
        stored: The stored files (`ROWS`), each path once; one that the directory has again is
            older than that, and does not count.

    Returns:
        What the directory had if nothing had gone, and those of `stored` that count.

    Raises:
        InvalidInputError: One of them would be a file and a folder.
    """
    local = found.listing
    gone = stored.filter(pc.invert(pc.is_in(stored["path"], local["path"].combine_chunks())))
    unmodified = pa.array(np.zeros(gone.num_rows, np.int64))
    columns = [gone["path"], gone["size"], unmodified]
    both = pa.concat_tables([local, pa.Table.from_arrays(columns, schema=LISTING)])
    listing = both.take(pc.sort_indices(both["path"])).combine_chunks()
    if faults := path_faults(listing["path"]):
        raise InvalidInputError(
            f"Live outputs and others collide: {'; '.join(faults)}",
            subject=str(found.root),
            hint="Give them other names.",
        )
    return replace(found, listing=listing), gone


def mark_stored(files: pa.Table, gone: pa.Table) -> pa.Table:
    """Note in a listing with metadata which files the store has, and what it knows of them.

    `modified` becomes null, so that they are read from the store where they have to be read.
    """
    at = pc.index_in(files["path"], gone["path"].combine_chunks())
    modified = pc.if_else(pc.is_valid(at), pa.scalar(None, pa.int64()), files["modified"])
    number = files.schema.get_field_index("modified")
    files = files.set_column(number, pa.field("modified", pa.int64()), modified)
    for name in _KNOWN:
        files = files.append_column(name, gone[name].combine_chunks().take(at.combine_chunks()))
    return files
