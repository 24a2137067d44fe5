"""How versions are shown: the JSON of one, and its fields for people. `docs/cli.md` tells them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from prefect_datasets.cli.output import fields, moment, table
from prefect_datasets.core.progress import count, format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect_datasets.core.format.record import VersionRecord


def version_json(record: VersionRecord) -> dict[str, Any]:
    """Return what programs read about a version."""
    return {
        "uri": str(record.uri),
        "digest": record.digest,
        "created": record.created,
        "parent": record.parent or None,
        "execution": record.execution,
        "n_files": record.n_files,
        "n_bytes": record.n_bytes,
        "n_parts": len(record.parts),
        "packages": [
            {"key": package.key, "n_bytes": package.n_bytes, "datum": package.datum}
            for package in record.packages
        ],
        "tags": list(record.tags),
        "properties": record.properties,
    }


def version_line(record: VersionRecord) -> str:
    """Say what a version is in one line."""
    packages = count(len(record.packages), "package") if record.packages else "not packaged"
    files = f"{count(record.n_files, 'file')}, {format_bytes(record.n_bytes)}"
    return f"{record.uri}  {files}, {packages}"


def version_fields(record: VersionRecord, *, aliases: Sequence[str], store_url: str) -> str:
    """Lay out all there is to know about a version."""
    pairs = {
        "uri": str(record.uri),
        "files": f"{record.n_files:,}",
        "size": f"{format_bytes(record.n_bytes)} ({record.n_bytes:,} bytes)",
        "packages": f"{len(record.packages):,}" if record.packages else "none",
        "aliases": ", ".join(aliases),
        "created": f"{moment(record.created)} UTC",
        "parent": record.parent,
        "tags": ", ".join(record.tags),
        "execution": record.execution,
        "digest": record.digest,
        "store": store_url,
    }
    shown = fields(pairs)
    return f"{shown}\n\n{_packages_table(record)}" if record.packages else shown


def versions_table(records: Sequence[VersionRecord], aliases: dict[str, str]) -> str:
    """Lay out versions, one a line, with the aliases that name them."""
    names: dict[str, list[str]] = {}
    for alias, version in aliases.items():
        names.setdefault(version, []).append(alias)
    rows = [
        (
            record.uri.version,
            f"{record.n_files:,}",
            format_bytes(record.n_bytes),
            str(len(record.packages) or "-"),
            moment(record.created),
            record.parent.rpartition("/")[2] or "-",
            ", ".join(names.get(record.uri.version, [])),
        )
        for record in records
    ]
    header = ("VERSION", "FILES", "SIZE", "PACKAGES", "CREATED (UTC)", "FROM", "ALIASES")
    return table(header, rows, right=(1, 2, 3))


def _packages_table(record: VersionRecord) -> str:
    rows = [
        (
            PurePosixPath(part.package.key).name,
            f"{part.n_files:,}",
            format_bytes(part.package.n_bytes),
            part.package.datum,
        )
        for part in record.parts
        if part.package
    ]
    return table(("PACKAGE", "FILES", "SIZE", "DATUM"), rows, right=(1, 2))
