"""`resolve`: make the files of a version, a datum or a URL available on this machine.

What is cached costs the interpreter's start: nothing is imported here that a warm resolve can do
without.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_datasets.cli.output import show, show_json
from prefect_datasets.cli.place import choose
from prefect_datasets.cli.progress import open_progress
from prefect_datasets.core.cache.cache import Selection
from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.core.resolve.inputs import ResolvedInput, resolve_input
from prefect_datasets.core.store_spec import StoreSpec

if TYPE_CHECKING:
    import argparse


def resolve(chosen: argparse.Namespace) -> int:
    """Resolve, and print where the files are."""
    place = choose(chosen)
    with open_progress() as progress:
        resolved = resolve_input(
            [chosen.uri],
            store=StoreSpec(place.url, place.options),
            cache=place.cache(),
            target=Path(chosen.to) if chosen.to else None,
            link=chosen.link,
            keep_directories=chosen.keep_directories,
            selection=Selection(include=tuple(chosen.include), shard=chosen.shard),
            progress=progress,
        )
        progress.note(_summary(resolved))
    if chosen.json:
        show_json(_json(chosen.uri, resolved))
    else:
        show(str(resolved.path))
    return 0


def _summary(resolved: ResolvedInput) -> str:
    what = f"{count(resolved.n_files, 'file')}, {format_bytes(resolved.n_bytes)}"
    if resolved.is_warm:
        return f"{what}: all from the cache"
    n_linked = sum(tree.n_linked_files for tree in resolved.trees)
    linked = f", {count(n_linked, 'file')} linked from other versions" if n_linked else ""
    return f"{what}: fetched {format_bytes(resolved.n_fetched_bytes)}{linked}"


def _json(asked: str, resolved: ResolvedInput) -> dict[str, Any]:
    trees = resolved.trees
    return {
        "uri": str(trees[0].uri) if trees else asked,
        "path": str(resolved.path),
        "digest": trees[0].digest if trees else None,
        "n_files": resolved.n_files,
        "n_bytes": resolved.n_bytes,
        "n_fetched_bytes": resolved.n_fetched_bytes,
        "n_linked_files": sum(tree.n_linked_files for tree in trees),
        "is_warm": resolved.is_warm,
    }
