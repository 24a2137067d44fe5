"""Events about dataset versions, for automations and for the feed of the Prefect UI.

All are emitted from a run only, never twice for one happening, and none can make a run fail.
`docs/events.md` says what each carries.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from uuid import NAMESPACE_URL, UUID, uuid5

from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions.deletion import Deletion
from prefect_datasets.core.versions.verify import Report
from prefect_datasets.tasks import artifacts
from prefect_datasets.tasks.links import artifact_key, artifact_page
from prefect_datasets.tasks.run import Run, current_run

CREATED = "prefect-datasets.version.created"
DELETED = "prefect-datasets.version.deleted"
VERIFICATION_FAILED = "prefect-datasets.verification.failed"
ALIAS_MOVED = "prefect-datasets.alias.moved"

# What Prefect's own `@materialize` emits. These events are emitted without it, because which
# version a task makes, and of what, is known when it is done.
_MATERIALIZED = "prefect.asset.materialization.succeeded"
_REFERENCED = "prefect.asset.referenced"
_TOOL = "prefect-datasets"
_ASSET_KEY = re.compile(r"dataset://[A-Za-z0-9._/-]+")

_MOST_NAMED = 50
_MOST_CHARACTERS = 500


def announce_alias(version: DatasetUri, alias: str, *, previous: str | None = None) -> None:
    """Tell that an alias was made or moved; nothing where it stands for the same version as before.

    Args:
        version: The version that it stands for now.
        alias: Name of the alias.
        previous: Name of the version that it stood for before: `aliases.read_alias`, asked before
            the move.
    """
    run = current_run()
    if run is None or previous == version.version:
        return
    uri = DatasetUri(version.dataset, alias)
    payload: dict[str, object] = {
        "alias": str(uri),
        "uri": str(version),
        "dataset": version.dataset,
        "name": alias,
        "version": version.version,
        "previous": previous or "",
    }
    _emit(
        run,
        ALIAS_MOVED,
        resource=uri,
        payload=payload,
        related={"version": [str(version)]},
        happening=f"{run.flow_run_id} {uri} {previous} {version.version}",
    )


def announce_deletion(deletion: Deletion) -> None:
    """Tell that a version was deleted, once it is."""
    run, record = current_run(), deletion.record
    if run is None:
        return
    payload = describe(record) | {
        "aliases": list(deletion.aliases[:_MOST_NAMED]),
        "children": list(deletion.children[:_MOST_NAMED]),
    }
    _emit(
        run,
        DELETED,
        resource=record.uri,
        payload=payload,
        related={"parent": [record.parent] if record.parent else []},
        happening=record.attempt,
    )


def announce_failed_verification(report: Report, *, deep: bool) -> None:
    """Tell that a version is not as it was published; nothing where it is whole.

    What was repaired is told too: something damaged it.

    Args:
        report: What was found.
        deep: Whether every byte was read.
    """
    run = current_run()
    if run is None or not report.faults:
        return
    payload: dict[str, object] = {
        "uri": str(report.uri),
        "dataset": report.uri.dataset,
        "version": report.uri.version,
        "deep": deep,
        "faults": len(report.faults),
        "repaired": len(report.repaired),
        "whole": report.is_whole,
        "first_faults": [
            {name: _short(value) for name, value in asdict(fault).items()}
            for fault in report.faults[:_MOST_NAMED]
        ],
    }
    _emit(
        run,
        VERIFICATION_FAILED,
        resource=report.uri,
        payload=payload,
        related={},
        happening=f"{run.flow_run_id} {report.uri}",
    )


def announce_version(run: Run, record: VersionRecord, *, aliases: Sequence[str] = ()) -> None:
    """Tell that a version was committed.

    Args:
        run: The run that committed it.
        record: The version.
        aliases: Names that stand for it from now on.
    """
    _emit(
        run,
        CREATED,
        resource=record.uri,
        payload=describe(record) | {"aliases": list(aliases[:_MOST_NAMED])},
        related={"parent": [record.parent] if record.parent else []},
        happening=record.attempt,
    )


def announce_asset(run: Run, record: VersionRecord, *, upstream: Sequence[str] = ()) -> None:
    """Tell Prefect that the version, as an asset, was made of others.

    Args:
        run: The run that made it.
        record: The version.
        upstream: Its parent, and the inputs of the run; those that are no versions are left out.
    """
    sources = list(dict.fromkeys(uri for uri in upstream if _ASSET_KEY.fullmatch(uri)))
    for source in sources[:_MOST_NAMED]:
        refer(run, DatasetUri.parse(source))
    labels = {
        "prefect.asset.description": f"{record.n_files:,} files, {format_bytes(record.n_bytes)}, "
        f"{count(len(record.packages), 'package')}, digest {record.digest}"
    }
    if page := artifact_page(artifact_key(record.uri.dataset)):
        labels["prefect.asset.url"] = page
    _emit(
        run,
        _MATERIALIZED,
        resource=record.uri,
        payload=describe(record),
        related={"asset-materialized-by": [_TOOL], "asset": sources},
        happening=record.attempt,
        labels=labels,
    )


def refer(run: Run, uri: DatasetUri) -> None:
    """Tell that the run reads a version, as an asset; once for a run."""
    _emit(
        run,
        _REFERENCED,
        resource=uri,
        payload={},
        related={},
        happening=f"{run.flow_run_id or run.task_run_id} {uri}",
    )


def describe(record: VersionRecord) -> dict[str, object]:
    """Return what an automation may want to know about a version."""
    return {
        "uri": str(record.uri),
        "dataset": record.uri.dataset,
        "version": record.uri.version,
        "files": record.n_files,
        "bytes": record.n_bytes,
        "packages": len(record.packages),
        "parent": record.parent,
        "digest": record.digest,
        "created": record.created,
    }


def _emit(
    run: Run,
    event: str,
    *,
    resource: DatasetUri,
    payload: Mapping[str, object],
    related: Mapping[str, Sequence[str]],
    happening: str,
    labels: Mapping[str, str] | None = None,
) -> None:
    artifacts.emit(
        run,
        event,
        resource=str(resource),
        name=f"{resource.dataset}/{resource.version}",
        payload=payload,
        related=[(role, each) for role, ids in related.items() for each in ids[:_MOST_NAMED]],
        event_id=_id(event, happening),
        labels=labels,
    )


def _id(event: str, happening: str) -> UUID:
    """Return the same id for the same happening, so that telling it twice tells it once."""
    return uuid5(NAMESPACE_URL, f"{event} {happening}")


def _short(value: object) -> object:
    return value[:_MOST_CHARACTERS] if isinstance(value, str) else value
