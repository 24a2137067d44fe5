"""`list`, `show`, `files`, `diff`: what only looks."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prefect_datasets.cli.describe import version_fields, version_json, versions_table
from prefect_datasets.cli.output import moment, show, show_json, table, warn
from prefect_datasets.cli.place import choose
from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.progress import format_bytes
from prefect_datasets.core.versions import catalog
from prefect_datasets.core.versions.aliases import list_aliases
from prefect_datasets.core.versions.records import list_datasets, list_versions

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import pyarrow as pa

    from prefect_datasets.core.errors import DatasetError
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.store import Store

_ROWS_AT_ONCE = 10_000
_LEFT_OUT = "left out, because it can't be read"


def list_(chosen: argparse.Namespace) -> int:
    """List the datasets of a store, or the versions of one dataset."""
    store = choose(chosen).store()
    if chosen.dataset:
        return _list_versions(store, chosen.dataset, as_json=chosen.json)
    found = {name: list_versions(store, name) for name in list_datasets(store)}
    faults = [fault for versions in found.values() for fault in versions.faults]
    datasets = [(name, versions.records) for name, versions in found.items() if versions.records]
    if chosen.json:
        shown = [_dataset_json(*each) for each in datasets]
        show_json({"store": store.url, "datasets": shown, "unreadable": _unreadable_json(faults)})
    elif datasets:
        header = ("DATASET", "VERSIONS", "LATEST", "FILES", "SIZE", "CREATED (UTC)")
        show(table(header, [_dataset_row(*each) for each in datasets], right=(1, 3, 4)))
    else:
        show(f"no datasets in {store.url}")
    warn(faults, then=_LEFT_OUT)
    return 0


def _list_versions(store: Store, dataset: str, *, as_json: bool) -> int:
    versions, aliases = list_versions(store, dataset), list_aliases(store, dataset)
    if not versions.records and not versions.all_or_raise():
        raise NotFoundError(
            "The dataset has no version",
            subject=f"{dataset} in {store.url}",
            hint="`prefect-datasets list` shows the datasets of a store.",
        )
    faults = [*versions.faults, *aliases.faults]
    if as_json:
        shown = [version_json(record) for record in versions.records]
        body = {"dataset": dataset, "aliases": aliases.targets, "versions": shown}
        show_json({"store": store.url, **body, "unreadable": _unreadable_json(faults)})
    else:
        show(versions_table(versions.records, aliases.targets))
    warn(faults, then=_LEFT_OUT)
    return 0


def _unreadable_json(faults: Sequence[DatasetError]) -> list[dict[str, str]]:
    return [{"key": fault.subject, "problem": fault.message} for fault in faults]


def _dataset_json(name: str, records: Sequence[VersionRecord]) -> dict[str, Any]:
    return {"dataset": name, "n_versions": len(records), "latest": version_json(records[-1])}


def _dataset_row(name: str, records: Sequence[VersionRecord]) -> tuple[str, ...]:
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
    found = list_aliases(store, record.uri.dataset)
    aliases = found.of(record.uri.version)
    warn(found.faults, then=_LEFT_OUT)
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
