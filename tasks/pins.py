"""What the inputs of a flow run were: shown in the UI, and the same for all its attempts.

`latest` and aliases are looked up once in a run. The answers lie in a table artifact of the run on
the Prefect server, because a retry may run on another machine.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)

from prefect_datasets.core.progress import format_bytes
from prefect_datasets.core.uri import DatasetUri, is_dataset_uri
from prefect_datasets.tasks import artifacts
from prefect_datasets.tasks.events import refer
from prefect_datasets.tasks.limits import Cell
from prefect_datasets.tasks.run import Run, run_count

KEY = "resolved-inputs"

_MOST_ROWS = 1_000
_MOST_EVENTS = 50

# What this process knows, and all there is where the API does not answer: for each run the version
# behind each (URI, store).
_known: dict[UUID, dict[tuple[str, str], str]] = {}
_inputs: dict[UUID, dict[str, list[str]]] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one URI of an input stood for.

    Attributes:
        name: Name of the input.
        asked: The URI as it was asked for.
        resolved: The same with its alias resolved.
        store: Identity of the store, because two stores may have datasets of one name.
        n_files: Number of files.
        n_bytes: Sum of their sizes.
        n_fetched_bytes: Bytes that were fetched now.
    """

    name: str
    asked: str
    resolved: str
    store: str
    n_files: int
    n_bytes: int
    n_fetched_bytes: int

    def row(self) -> dict[str, Cell]:
        """Return the answer as people read it."""
        return {
            "input": self.name,
            "asked for": self.asked,
            "resolved to": self.resolved,
            "files": self.n_files,
            "size": format_bytes(self.n_bytes),
            "fetched": format_bytes(self.n_fetched_bytes),
            "store": self.store,
        }


def pinned(run: Run, uri: DatasetUri, *, store: str) -> DatasetUri | None:
    """Return the version that `uri` stood for when the flow run asked first, or None.

    Args:
        run: The run.
        uri: The version, alias or `latest` that was asked for.
        store: The store's identity.
    """
    if run.flow_run_id is None:
        return None
    if run.flow_run_id not in _known:
        _known[run.flow_run_id] = _read(run, run.flow_run_id)
    found = _known[run.flow_run_id].get((str(uri), store))
    return DatasetUri.parse(found) if found is not None else None


def keep(run: Run, answers: Sequence[Answer]) -> None:
    """Keep what inputs of the run were, and show it."""
    if run.flow_run_id is None or not answers:
        return
    known = _known.setdefault(run.flow_run_id, {})
    inputs = _inputs.setdefault(run.flow_run_id, {})
    for answer in answers:
        known.setdefault((answer.asked, answer.store), answer.resolved)
        inputs.setdefault(answer.name, []).append(answer.resolved)
    names = ", ".join(dict.fromkeys(answer.name for answer in answers))
    rows = [answer.row() for answer in answers[:_MOST_ROWS]]
    fetched = format_bytes(sum(answer.n_fetched_bytes for answer in answers))
    size = format_bytes(sum(answer.n_bytes for answer in answers))
    described = f"Inputs: {names}: {size}, {fetched} fetched"
    artifacts.create_table(run, key=KEY, rows=rows, description=described)
    versions = dict.fromkeys(each.resolved for each in answers if is_dataset_uri(each.resolved))
    for uri in list(versions)[:_MOST_EVENTS]:
        refer(run, DatasetUri.parse(uri))


def inputs_of(run: Run) -> dict[str, list[str]]:
    """Return the inputs that this process resolved for the run: name -> URIs, aliases resolved."""
    return dict(_inputs.get(run.flow_run_id, {})) if run.flow_run_id is not None else {}


def _read(run: Run, flow_run_id: UUID) -> dict[tuple[str, str], str]:
    """Return what other processes kept of the run; a run that has just begun has no others."""
    if run.can_submit and run_count() <= 1:
        return {}
    of_run = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]), key=ArtifactFilterKey(any_=[KEY])
    )
    missing = "It is not known what earlier attempts of the run resolved"
    tables = artifacts.unless_the_api_is_gone(run.logger, missing, lambda: _tables(of_run))
    found: dict[tuple[str, str], str] = {}
    for row in _rows(tables or []):
        found.setdefault((row["asked for"], row["store"]), row["resolved to"])
    return found


def _tables(of_run: ArtifactFilter) -> list[Any]:
    """Return the tables that a filter finds, the first one first."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=of_run)
    return [table.data for table in sorted(found, key=lambda table: str(table.created))]


def _rows(tables: Iterable[Any]) -> Iterable[dict[str, str]]:
    for table in tables:
        yield from cast("list[dict[str, str]]", json.loads(table))
