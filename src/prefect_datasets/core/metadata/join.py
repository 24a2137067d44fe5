"""What metadata says, joined with the files it speaks of: line over line, line over sidecar."""

from __future__ import annotations

import json
import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_datasets.core.columns import binaries, take
from prefect_datasets.core.metadata.lines import (
    Columns,
    ColumnsBuilder,
    Int32s,
    find_rows,
)
from prefect_datasets.core.metadata.scan import METADATA_FILE, SIDECAR_SUFFIX, Scan
from prefect_datasets.core.metadata.texts import Texts, encode, where_line

if TYPE_CHECKING:
    from prefect_datasets.core.metadata.findings import Findings

_Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of each row of a listing.

    Attributes:
        versions: Number of what is said of versions (`Texts.versions`), 0 for nothing.
        lines: The line that says it, 0 where no line does.
        properties: JSON of the other keys, or null: a dictionary-encoded string array.
    """

    versions: Int32s
    lines: Int32s
    properties: pa.Array


def join(scan: Scan, columns: Columns, texts: Texts) -> Said:
    """Find the file of each item; what speaks of no file is noted and left out."""
    rows = _rows(scan, columns, texts.findings)
    n_rows = len(scan.listing)
    by_sidecar = columns.lines == 0
    line_at = _last_item(np.where(by_sidecar, -1, rows), n_rows)
    sidecar_at = _last_item(np.where(by_sidecar, rows, -1), n_rows)
    both = np.flatnonzero((line_at >= 0) & (sidecar_at >= 0))
    merged = _merge(columns, line_at[both], sidecar_at[both], texts)
    at = np.where(line_at >= 0, line_at, sidecar_at)
    at[both] = len(rows) + np.arange(len(both))
    return Said(
        versions=_taken(columns.versions, merged.versions, at, nothing=0),
        lines=_taken(columns.lines, merged.lines, at, nothing=0),
        properties=_properties(columns, merged, at),
    )


def _last_item(rows: npt.NDArray[Any], n_rows: int) -> Int32s:
    """Return for each row the last item that speaks of it, -1 for none."""
    last = np.full(n_rows + 1, -1, np.int32)
    last[rows] = np.arange(len(rows), dtype=np.int32)  # of equal rows the last assignment stays
    return last[:-1]  # items of no row, -1, were written to the end


def _taken(first: Int32s, then: Int32s, at: npt.NDArray[Any], *, nothing: int) -> Int32s:
    return np.concatenate([first, then, np.array([nothing], np.int32)])[at]


def _properties(columns: Columns, merged: Columns, at: npt.NDArray[Any]) -> pa.Array:
    shifted = np.where(merged.properties < 0, -1, merged.properties + len(columns.texts))
    codes = _taken(columns.properties, shifted.astype(np.int32), at, nothing=-1)
    texts = pa.concat_arrays([columns.texts, merged.texts])
    validity = pa.py_buffer(np.packbits(codes >= 0, bitorder="little"))
    indices = pa.Array.from_buffers(
        pa.int32(), len(codes), [validity, pa.py_buffer(np.maximum(codes, 0))]
    )
    return pa.DictionaryArray.from_arrays(indices, texts)


def _merge(columns: Columns, lines: Int32s, sidecars: Int32s, texts: Texts) -> Columns:
    """Merge the items of files that have a line and a sidecar, key by key: the line wins."""
    builder = ColumnsBuilder()
    for line, sidecar in zip(lines.tolist(), sidecars.tolist(), strict=True):
        of_line, of_sidecar = _object(columns, line), _object(columns, sidecar)
        for key in of_line.keys() & of_sidecar.keys():
            if of_line[key] != of_sidecar[key]:
                name = columns.names[line].as_py().decode()
                texts.findings.warn(
                    f"`{key}` differs in {METADATA_FILE}, which counts", name + SIDECAR_SUFFIX
                )
        both = {**of_sidecar, **of_line}
        versions = texts.together(int(columns.versions[line]), int(columns.versions[sidecar]))
        builder.add(b"", int(columns.lines[line]), versions, encode(both) if both else None)
    return builder.finish()


def _object(columns: Columns, item: int) -> dict[str, Any]:
    at = int(columns.properties[item])
    return json.loads(columns.texts[at].as_py()) if at >= 0 else {}


def _rows(scan: Scan, columns: Columns, findings: Findings) -> Int32s:
    """Return the row of each item's file, -1 where it is not there."""
    rows = find_rows(columns.names, scan.listing.column("path"))
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        rows = rows.copy()
        _find_again(rows, missing, scan, columns, findings)
    found = rows[(rows >= 0) & (columns.lines > 0)]
    is_found = np.zeros(len(scan.listing), np.bool_)
    is_found[found] = True
    if n_replaced := len(found) - np.count_nonzero(is_found):
        findings.warn(
            f"{n_replaced} lines are replaced by later ones for their file", METADATA_FILE
        )
    return rows


def _find_again(
    rows: Int32s, missing: _Places, scan: Scan, columns: Columns, findings: Findings
) -> None:
    """Fill in the rows of paths that are written in another way; note what names no file."""
    names: list[bytes] = take(columns.names, missing).to_pylist()
    root = os.fsencode(scan.full_root)
    # A URL's two slashes would become one.
    better = [posixpath.normpath(name.removeprefix(root)).removeprefix(root) for name in names]
    again = find_rows(
        pa.chunked_array([binaries(better, pa.binary())]), scan.listing.column("path")
    )
    metadata_paths = frozenset(scan.metadata_paths)
    for at, name, row in zip(missing.tolist(), names, again.tolist(), strict=True):
        path = name.decode(errors="backslashreplace")
        line = int(columns.lines[at])
        where = where_line(line) if line else path + SIDECAR_SUFFIX
        if row >= 0 and line:
            rows[at] = row
            findings.warn("names a file by a path that is not relative to the directory", where)
        elif path in metadata_paths:
            findings.fault(f"{where}: names {path!r}, which is a metadata file")
        elif not line:
            findings.fault(f"{where}: its file {path!r} is not there")
        else:
            findings.fault(f"{where}: names {path!r}, which is not there")
