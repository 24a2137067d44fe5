"""`cache list`, `prune`, `verify`, `clear`: what looks after this machine's cache."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_datasets.cli.output import moment, show, show_json, table
from prefect_datasets.cli.place import choose
from prefect_datasets.cli.progress import open_progress
from prefect_datasets.core.cache import prune as engine
from prefect_datasets.core.progress import count, format_bytes

if TYPE_CHECKING:
    import argparse

    from prefect_datasets.core.cache.prune import Candidate, Prune


def list_(chosen: argparse.Namespace) -> int:
    """List what is cached, the longest unused first."""
    cache = choose(chosen).cache()
    found = engine.survey(cache)
    if chosen.json:
        show_json({"cache": str(cache.root), "entries": [_entry_json(each) for each in found]})
        return 0
    if not found:
        show(f"nothing cached in {cache.root}")
        return 0
    show(table(("NAME", "SIZE", "LAST USED (UTC)", "NOW"), [_row(e) for e in found], right=(1,)))
    n_bytes = sum(candidate.n_bytes for candidate in found)
    show(f"{format_bytes(n_bytes)} in {cache.root}")
    return 0


def prune(chosen: argparse.Namespace) -> int:
    """Free what is not in use, until the rest fits into the budget."""
    cache = choose(chosen).cache()
    budget = cache.max_bytes if chosen.max_bytes is None else chosen.max_bytes
    plan = engine.plan_prune(engine.survey(cache), now=time.time(), max_bytes=budget or 0)
    freed = [_entry_json(candidate) for candidate in plan.frees]  # as long as they are there
    n_bytes = engine.prune(cache, plan)
    if chosen.json:
        kept = [{**_entry_json(candidate), "why": why} for candidate, why in plan.keeps]
        show_json({"cache": str(cache.root), "n_bytes": n_bytes, "freed": freed, "kept": kept})
        return 0
    _show_plan(plan, "freed", kept="kept")
    show(f"{format_bytes(n_bytes)} freed in {cache.root}")
    return 0


def verify(chosen: argparse.Namespace) -> int:
    """Compare cached files with their digests; 1 if one differs."""
    from prefect_datasets.core.cache import check  # noqa: PLC0415  pyarrow

    cache = choose(chosen).cache()
    with open_progress() as progress:
        faults = check.verify(cache, repair=chosen.repair, progress=progress)
    told = [
        {"entry": fault.entry.name, "path": fault.path, "problem": fault.what} for fault in faults
    ]
    if chosen.json:
        show_json({"cache": str(cache.root), "is_whole": not faults, "faults": told})
    else:
        for fault in faults:
            show(f"{fault.entry.files / fault.path}: {fault.what}")
        show(f"{count(len(faults), 'fault') if faults else 'whole'}: {cache.root}")
    return 1 if faults else 0


def clear(chosen: argparse.Namespace) -> int:
    """Free everything that is not in use, or say how much that is."""
    cache = choose(chosen).cache()
    plan = engine.plan_clear(engine.survey(cache))
    freed = [_entry_json(candidate) for candidate in plan.frees]  # as long as they are there
    n_bytes = engine.clear(cache, plan) if chosen.yes else plan.n_bytes
    if chosen.json:
        names = [candidate.name for candidate, _ in plan.keeps if candidate.in_use]
        body = {"cache": str(cache.root), "n_bytes": n_bytes, "freed": freed, "in_use": names}
        show_json({"deleted": chosen.yes, **body})
        return 0
    done = "freed" if chosen.yes else "would free"
    _show_plan(plan, done, kept="kept" if chosen.yes else "would keep")
    show(f"{done} {format_bytes(n_bytes)} in {cache.root}")
    if plan.frees and not chosen.yes:
        show("--yes does it")
    return 0


def _show_plan(plan: Prune, freed: str, *, kept: str) -> None:
    for candidate in plan.frees:
        show(f"{freed} {candidate.name} ({format_bytes(candidate.n_bytes)})")
    for candidate, why in plan.keeps:
        show(f"{kept} {candidate.name} ({format_bytes(candidate.n_bytes)}): {why}")


def _row(candidate: Candidate) -> tuple[str, ...]:
    state = "in use" if candidate.in_use else ("" if candidate.entry else "not complete")
    if candidate.is_newer:
        state = "made by a newer release"
    used = moment(_iso(candidate.last_used))
    return candidate.name, format_bytes(candidate.n_bytes), used, state


def _entry_json(candidate: Candidate) -> dict[str, Any]:
    ready = candidate.entry.read_ready() if candidate.entry else None
    return {
        "name": candidate.name,
        "path": str(Path(candidate.folder)),
        "uri": ready.uri if ready else None,
        "n_bytes": candidate.n_bytes,
        "last_used": _iso(candidate.last_used),
        "in_use": candidate.in_use,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
