"""Tell Prefect of a version that was committed: a summary, a table, an event, an asset."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.progress import format_bytes
from prefect_datasets.core.store import Store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from prefect_datasets.core.versions.changes import Changes, changes, sizes
from prefect_datasets.tasks import artifacts
from prefect_datasets.tasks.events import announce_asset, announce_version
from prefect_datasets.tasks.links import artifact_key
from prefect_datasets.tasks.run import Run
from prefect_datasets.tasks.summary import Story, package_rows, summary

T = TypeVar("T")

# The sizes of more files are not looked at: their tables have gigabytes.
_MOST_FILES = 20_000_000


def announce(
    run: Run,
    record: VersionRecord,
    *,
    store: DatasetStore,
    aliases: Sequence[str] = (),
    seconds: float | None = None,
    is_new: bool = True,
) -> None:
    """Show a committed version in the Prefect UI and emit its events. Never fails the run.

    Args:
        run: The run that committed it.
        record: The version.
        store: Where it is.
        aliases: Names that were moved to it.
        seconds: How long the run worked on it.
        is_new: Whether it was committed now; one that only got packages has no events.
    """
    opened = store.open()
    story = _story(run, record, opened, aliases, seconds)
    key = artifact_key(record.uri.dataset)
    description = f"{record.uri}: {record.n_files:,} files, {format_bytes(record.n_bytes)}"
    told = _unless_it_fails(run, "anything", lambda: summary(record, story, store=store))
    artifacts.create_markdown(run, key=key, markdown=told or description, description=description)
    if record.packages:
        rows = package_rows(record, opened)
        artifacts.create_table(run, key=f"{key}-packages", rows=rows, description=description)
    if not is_new:
        return
    announce_version(run, record, aliases=aliases)
    upstream = [record.parent, *(uri for uris in story.inputs.values() for uri in uris)]
    announce_asset(run, record, upstream=[uri for uri in upstream if uri])


def _story(
    run: Run, record: VersionRecord, store: Store, aliases: Sequence[str], seconds: float | None
) -> Story:
    """Look up what a summary tells beside the record; what can't be read is left out."""
    made = _unless_it_fails(run, "where it comes from", lambda: _provenance(store, record)) or {}
    return Story(
        aliases=aliases,
        seconds=seconds,
        inputs=_inputs(made),
        flow_run=str(made.get("flow_run", {}).get("id", "")),
        sizes=_unless_it_fails(run, "the sizes of its files", lambda: sizes(store, record))
        if record.n_files <= _MOST_FILES
        else None,
        changes=_unless_it_fails(run, "what changed", lambda: _changes(store, record)),
    )


def _provenance(store: Store, record: VersionRecord) -> dict[str, Any]:
    return json.loads(store.read(keys.execution_key(record.execution)))


def _inputs(made: Mapping[str, Any]) -> dict[str, list[str]]:
    found: Mapping[str, Sequence[str]] = made.get("inputs") or {}
    return {str(name): [str(uri) for uri in uris] for name, uris in found.items()}


def _changes(store: Store, record: VersionRecord) -> Changes | None:
    if not record.parent:
        return None
    return changes(store, catalog.find(store, DatasetUri.parse(record.parent)), record)


def _unless_it_fails(run: Run, what: str, look: Callable[[], T]) -> T | None:
    """Return what was looked up; a failure is a warning, for the version is there."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - a summary is not worth a failed run
        run.logger.warning("The summary does not say %s (%s)", what, error)
        return None
