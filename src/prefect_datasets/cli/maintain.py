"""`verify`, `alias`, `delete`, `gc`: what looks after a store."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from prefect_datasets.cli.describe import version_json, version_line
from prefect_datasets.cli.output import show, show_json, warn
from prefect_datasets.cli.place import choose
from prefect_datasets.cli.progress import open_progress
from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.core.versions import catalog, deletion
from prefect_datasets.core.versions.aliases import set_alias

if TYPE_CHECKING:
    import argparse

    from prefect_datasets.core.versions.verify import Report


_DAY_SECONDS = 24 * 3600.0


def alias(chosen: argparse.Namespace) -> int:
    """Point an alias at a version."""
    store = choose(chosen).store()
    record = catalog.find(store, chosen.uri)
    set_alias(store, record.uri, chosen.alias)
    name = f"dataset://{record.uri.dataset}/{chosen.alias}"
    if chosen.json:
        show_json({"alias": name, "uri": str(record.uri)})
    else:
        show(f"{name} is {record.uri}")
    return 0


def delete(chosen: argparse.Namespace) -> int:
    """Delete a version, or say what that would mean."""
    store = choose(chosen).store()
    planned = deletion.plan_delete(store, chosen.uri)
    warn(planned.faults, then="might be an alias of it or made from it, but can't be read")
    if chosen.yes:
        deletion.delete(store, planned)
    if chosen.json:
        names = {"aliases": planned.aliases, "children": planned.children}
        show_json({"deleted": chosen.yes, "version": version_json(planned.record), **names})
        return 0
    show(f"{'deleted' if chosen.yes else 'would delete'} {version_line(planned.record)}")
    if planned.aliases:
        show(f"aliases that name nothing then: {', '.join(planned.aliases)}")
    if planned.children:
        show(f"made from it, and complete without it: {', '.join(planned.children)}")
    show(
        "`prefect-datasets gc` frees what no other version uses, a day later"
        if chosen.yes
        else "--yes does it"
    )
    return 0


def collect_garbage(chosen: argparse.Namespace) -> int:
    """Free what no version uses, or say how much that is."""
    from prefect_datasets.core.versions import garbage as engine  # noqa: PLC0415  pyarrow

    store = choose(chosen).store()
    days = chosen.outputs_older_than
    loose_seconds = None if days is None else days * _DAY_SECONDS
    garbage = engine.plan_garbage(store, time.time(), loose_seconds=loose_seconds)
    n_uploads = engine.collect(store, garbage) if chosen.yes else 0
    if chosen.json:
        told = {
            "deleted": chosen.yes,
            "keys": garbage.keys,
            "n_bytes": garbage.n_bytes,
            "n_kept": garbage.n_kept,
            "n_young": garbage.n_young,
            "n_ended_uploads": n_uploads,
        }
        show_json(told)
        return 0
    what = f"{count(len(garbage.keys), 'object')}, {format_bytes(garbage.n_bytes)}"
    show(f"{'freed' if chosen.yes else 'would free'} {what}")
    if garbage.n_young:
        show(f"{count(garbage.n_young, 'object')} more, less than a day after the last write")
    if n_uploads:
        show(f"ended {count(n_uploads, 'upload')} that a crash had left open")
    if garbage.keys and not chosen.yes:
        show("--yes does it")
    return 0


def verify(chosen: argparse.Namespace) -> int:
    """Check a version; 1 if anything is wrong, even where the other copy could heal it."""
    from prefect_datasets.core.versions import verify as engine  # noqa: PLC0415  pyarrow

    with open_progress() as progress:
        report = engine.verify(
            chosen.uri,
            store=choose(chosen).store(),
            deep=chosen.deep,
            repair=chosen.repair,
            progress=progress,
        )
    if chosen.json:
        body = {**asdict(report), "uri": str(report.uri), "is_whole": report.is_whole}
        show_json({"deep": chosen.deep, **body})
    else:
        _show_report(report, deep=chosen.deep)
    return 1 if report.faults and not report.is_whole else 0


def _show_report(report: Report, *, deep: bool) -> None:
    repaired = set(report.repaired)
    for fault in report.faults:
        where = f"{fault.key} ({fault.path})" if fault.path else fault.key
        mended = ": repaired" if fault.key in repaired else ""
        show(f"{where}: {fault.problem}{mended}")
    looked = f"{count(report.n_files, 'file')}, " + (
        f"{format_bytes(report.n_bytes)} read" if deep else "sizes only; --deep reads every byte"
    )
    found = count(len(report.faults), "fault") if report.faults else "whole"
    show(f"{report.uri}: {found} ({looked})")
