"""`list`, `show`, `files`, `diff`: what only looks."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prefect_datasets.cli.describe import version_fields, version_json, versions_table
from prefect_datasets.cli.output import moment, show, show_json, table
from prefect_datasets.cli.place import choose
from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.progress import format_bytes
from prefect_datasets.core.versions import catalog

if TYPE_CHECKING:
    import argparse

    import pyarrow as pa

    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.store import Store

_ROWS_AT_ONCE = 10_000


def list_(chosen: argparse.Namespace) -> int:
    """List the datasets of a store, or the versions of one dataset."""
    store = choose(chosen).store()
    if chosen.dataset:
        return _list_versions(store, chosen.dataset, as_json=chosen.json)
    datasets = [(name, catalog.list_versions(store, name)) for name in catalog.list_datasets(store)]
    datasets = [(name, records) for name, records in datasets if records]
    if chosen.json:
        show_json({"store": store.url, "datasets": [_dataset_json(*each) for each in datasets]})
    elif datasets:
        header = ("DATASET", "VERSIONS", "LATEST", "FILES", "SIZE", "CREATED (UTC)")
        show(table(header, [_dataset_row(*each) for each in datasets], right=(1, 3, 4)))
    else:
        show(f"no datasets in {store.url}")
    return 0


def _list_versions(store: Store, dataset: str, *, as_json: bool) -> int:
    records = catalog.list_versions(store, dataset)
    aliases = catalog.list_aliases(store, dataset)
    if not records:
        raise NotFoundError(
            "The dataset has no version",
            subject=f"{dataset} in {store.url}",
            hint="`prefect-datasets list` shows the datasets of a store.",
        )
    if as_json:
        versions = [version_json(record) for record in records]
        body = {"store": store.url, "dataset": dataset, "aliases": aliases, "versions": versions}
        show_json(body)
    else:
        show(versions_table(records, aliases))
    return 0


def _dataset_json(name: str, records: list[VersionRecord]) -> dict[str, Any]:
    return {"dataset": name, "n_versions": len(records), "latest": version_json(records[-1])}


def _dataset_row(name: str, records: list[VersionRecord]) -> tuple[str, ...]:
    latest = records[-1]
    return (
        name,
        str(len(records)),
        latest.uri.version,
        f"{latest.n_files:,}",
        format_bytes(latest.n_bytes),
        moment(latest.created),
    )


def show_version(chosen: argparse.Namespace) -> int:
    """Show what a version is made of."""
    store = choose(chosen).store()
    record = catalog.find(store, chosen.uri)
    named = catalog.list_aliases(store, record.uri.dataset)
    aliases = [alias for alias, version in named.items() if version == record.uri.version]
    if chosen.json:
        show_json({"store": store.url, "aliases": aliases, **version_json(record)})
    else:
        show(version_fields(record, aliases=aliases, store_url=store.url))
    return 0


def files(chosen: argparse.Namespace) -> int:
    """List the files of a version; as JSON, one object a line, since there may be millions."""
    from prefect_datasets.core.format import parts  # noqa: PLC0415  pyarrow, which `list` does without
    from prefect_datasets.core.globs import Globs  # noqa: PLC0415

    store = choose(chosen).store()
    record = catalog.find(store, chosen.uri)
    wanted = Globs(chosen.include) if chosen.include else None
    for rows in parts.iter_parts(store, record):
        kept = rows.filter(wanted.filter(rows["path"])) if wanted else rows
        for batch in kept.to_batches(max_chunksize=_ROWS_AT_ONCE):
            _show_files(batch, as_json=chosen.json)
    return 0


def _show_files(rows: pa.RecordBatch, *, as_json: bool) -> None:
    if as_json:
        for row in rows.to_pylist():
            show_json(_file_json(row), indent=None)
    else:
        for row in rows.select(["path", "size", "sha256"]).to_pylist():
            show(f"{row['sha256'].hex()[:12]}  {format_bytes(row['size']):>7}  {row['path']}")


def _file_json(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "sha256": row["sha256"].hex(),
        "crc32": f"{row['crc32']:08x}",
        "metadata": json.loads(row["metadata"] or "{}"),
    }


def diff(chosen: argparse.Namespace) -> int:
    """Show what changed from one version to another."""
    from prefect_datasets.core.versions import diff as engine  # noqa: PLC0415  pyarrow

    found = engine.diff(choose(chosen).store(), chosen.old, chosen.new)
    if chosen.json:
        show_json({"old": str(chosen.old), "new": str(chosen.new), **asdict(found)})
        return 0
    marks = [
        *((path, f"+ {path}") for path in found.added),
        *((path, f"- {path}") for path in found.removed),
        *((path, f"~ {path}") for path in found.changed),
        *((old, f"> {old} -> {new}") for old, new in found.renamed),
    ]
    for _, line in sorted(marks):
        show(line)
    show(
        f"{len(found.added):,} added, {len(found.removed):,} removed, {len(found.changed):,} "
        f"changed, {len(found.renamed):,} renamed, {found.n_same:,} the same; "
        f"{format_bytes(found.n_new_bytes)} are new"
    )
    return 0
