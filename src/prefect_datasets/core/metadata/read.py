"""Reading the metadata of a directory: its JSONL file, and the sidecars beside its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from prefect_datasets.core.columns import number_array
from prefect_datasets.core.metadata.check import check_properties
from prefect_datasets.core.metadata.declarations import Declarations, Entry, read_entries, unite
from prefect_datasets.core.metadata.findings import Findings
from prefect_datasets.core.metadata.join import Said, join
from prefect_datasets.core.metadata.lines import ColumnsBuilder, read_lines
from prefect_datasets.core.metadata.scan import METADATA_FILE, SIDECAR_SUFFIX, Scan
from prefect_datasets.core.metadata.texts import Texts, where_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect_datasets.core.uri import DatasetUri


def read_declarations(scan: Scan, *, strict: bool) -> Declarations:
    """Read what the metadata of a directory asks for.

    Args:
        scan: What lies in it.
        strict: Whether a fault that could be left out (a line that is no JSON, an entry for a
            file that isn't there) is an error; else it is a warning and the rest counts.

    Raises:
        InvalidMetadataError: Something makes a version unclear (a bad URI, a contradiction), or
            `strict` and there are faults; all are listed.
    """
    findings = Findings(strict=strict)
    texts = Texts(findings)
    builder = ColumnsBuilder()
    without_file = _read_jsonl(scan, texts, builder)
    _read_sidecars(scan, texts, builder)
    said = join(scan, builder.finish(), texts)
    paths = scan.listing.column("path")
    entries = dict(_entries_of_files(said, paths, texts, findings))
    for line, number in without_file:
        if number not in entries:
            entries[number] = list(_entries("", line, number, texts, findings))
    versions = unite([entry for listed in entries.values() for entry in listed], findings)
    aliases = check_properties(said.properties, paths, findings)
    return Declarations(
        versions=versions,
        members={version.uri: _members(version.uri, said, entries) for version in versions},
        metadata=said.properties,
        datum_aliases=aliases,
        warnings=findings.settle(str(scan.root)),
    )


def _read_jsonl(scan: Scan, texts: Texts, builder: ColumnsBuilder) -> list[tuple[int, int]]:
    if METADATA_FILE not in scan.metadata_paths:
        return []
    with scan.open(METADATA_FILE) as stream:
        return read_lines(stream, texts, builder)


def _read_sidecars(scan: Scan, texts: Texts, builder: ColumnsBuilder) -> None:
    paths = [path for path in scan.metadata_paths if path != METADATA_FILE]
    for path, content in zip(paths, scan.read_all(paths), strict=True):
        try:
            if isinstance(content, Exception):
                raise content
            said = texts.take(texts.parse(content, path), by_sidecar=True)
        except (ValueError, OSError) as error:
            texts.findings.fault(f"{path}: {error}")
        else:
            builder.add(path.removesuffix(SIDECAR_SUFFIX).encode(), 0, *said)


def _entries_of_files(
    said: Said, paths: pa.ChunkedArray, texts: Texts, findings: Findings
) -> Iterator[tuple[int, list[Entry]]]:
    """Read what is said of versions, each thing once, in the order of the files' paths."""
    numbers, rows = np.unique(said.versions, return_index=True)
    for at in np.argsort(rows).tolist():
        if number := int(numbers[at]):
            path, line = paths[int(rows[at])].as_py(), int(said.lines[rows[at]])
            yield number, list(_entries(path, line, number, texts, findings))


def _entries(
    path: str, line: int, number: int, texts: Texts, findings: Findings
) -> Iterator[Entry]:
    file = f" ({path!r})" if path else ""
    for said in texts.versions[number]:
        where = path + SIDECAR_SUFFIX if said.by_sidecar else where_line(line) + file
        yield from read_entries(said.value, where=where, findings=findings)


def _members(uri: DatasetUri, said: Said, entries: dict[int, list[Entry]]) -> pa.Array:
    """Return the rows of a version's files."""
    names_it = np.zeros(1 + max(entries), np.bool_)
    names_it[[number for number, listed in entries.items() if _names(listed, uri)]] = True
    return number_array(np.flatnonzero(names_it[said.versions]).astype(np.int32), pa.int32())


def _names(entries: list[Entry], uri: DatasetUri) -> bool:
    return any(entry.uri == uri for entry in entries)
