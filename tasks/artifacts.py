"""What a run leaves on the Prefect server beside its log. None of it can make a run fail."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.events import emit_event
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from prefect_datasets.tasks.limits import (
    MOST_DESCRIPTION_CHARACTERS,
    MOST_RELATED,
    Cell,
    cut_markdown,
    cut_payload,
    cut_rows,
    cut_text,
)
from prefect_datasets.tasks.run import Logger, Run

__all__ = [
    "Cell",
    "create_markdown",
    "create_progress",
    "create_table",
    "emit",
    "unless_the_api_is_gone",
    "update_progress",
]

T = TypeVar("T")


# The client would try again for a minute where nothing answers. A quarter of that outlasts a server
# that starts anew; for some time after that, nothing is shown.
_MOST_RETRIES = 3
_SECONDS_OF_SILENCE = 60.0
_silent_until = 0.0


def unless_the_api_is_gone(logger: Logger, what: str, ask: Callable[[], T]) -> T | None:
    """Return the API's answer; any failure is a warning, for the data is worth more than a picture.

    Args:
        logger: Is told.
        what: What is missing then, as the beginning of a sentence.
        ask: Asks the API.
    """
    global _silent_until  # noqa: PLW0603 - what one call found out spares the others the minute
    if time.monotonic() < _silent_until:
        return None
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - the client lets errors of many libraries through
        logger.warning("%s (%s: %s)", what, type(error).__name__, error)
        if isinstance(error, httpx.TransportError):
            _silent_until = time.monotonic() + _SECONDS_OF_SILENCE
        return None


# The client is used directly, because `create_markdown_artifact` and its kin give a coroutine that
# nobody awaits when they are called from an async flow.


def create_markdown(run: Run, *, key: str, markdown: str, description: str) -> None:
    """Leave a Markdown artifact."""
    artifact = _described(run, "markdown", key, cut_markdown(markdown), description)
    unless_the_api_is_gone(run.logger, f"No summary {key!r}", lambda: _create(artifact))


def create_table(
    run: Run, *, key: str, rows: Sequence[Mapping[str, Cell]], description: str
) -> None:
    """Leave a table artifact of few rows; where they are too many, the description says so."""
    kept = cut_rows(rows)
    if len(kept) < len(rows):
        description = f"{description} (the first {len(kept):,} of {len(rows):,} rows)"
    artifact = _described(run, "table", key, kept, description)
    unless_the_api_is_gone(run.logger, f"No table {key!r}", lambda: _create(artifact))


def create_progress(
    client: SyncPrefectClient, run: Run, *, percent: float, description: str
) -> UUID:
    """Leave a progress artifact; it has no key, so it shows in its run alone."""
    return client.create_artifact(_described(run, "progress", None, percent, description)).id


def update_progress(
    client: SyncPrefectClient, artifact: UUID, *, percent: float, description: str
) -> None:
    """Move a progress artifact."""
    update = ArtifactUpdate(data=percent, description=description)
    client.update_artifact(artifact_id=artifact, artifact=update)


def emit(
    run: Run,
    event: str,
    *,
    resource: str,
    name: str,
    payload: Mapping[str, object],
    event_id: UUID,
    related: Sequence[tuple[str, str]] = (),
    labels: Mapping[str, str] | None = None,
) -> None:
    """Emit an event about `resource`; the run, its flow and its deployment become related to it.

    Args:
        run: The run.
        event: What happened.
        resource: Id of what it happened to.
        name: The same for people.
        payload: What is worth knowing about it.
        event_id: The same for the same happening, so that telling it twice tells it once.
        related: What else it is about: role and id of each.
        labels: What else is said of the resource.
    """
    about = {"prefect.resource.id": resource, "prefect.resource.name": name, **(labels or {})}
    others = [
        {"prefect.resource.role": role, "prefect.resource.id": id_}
        for role, id_ in related[:MOST_RELATED]
    ]
    unless_the_api_is_gone(
        run.logger,
        f"No event {event!r}",
        lambda: emit_event(
            event=event, resource=about, related=others, payload=cut_payload(payload), id=event_id
        ),
    )


def _create(artifact: ArtifactCreate) -> None:
    retries = min(PREFECT_CLIENT_MAX_RETRIES.value(), _MOST_RETRIES)
    impatient: dict[Any, Any] = {PREFECT_CLIENT_MAX_RETRIES: retries}
    with temporary_settings(impatient), get_client(sync_client=True) as client:
        client.create_artifact(artifact)


def _described(
    run: Run, kind: str, key: str | None, data: object, description: str
) -> ArtifactCreate:
    return ArtifactCreate(
        type=kind,
        key=key,
        description=cut_text(description, MOST_DESCRIPTION_CHARACTERS),
        data=json.dumps(data) if kind == "table" else data,  # as Prefect stores tables
        flow_run_id=run.flow_run_id,
        task_run_id=run.task_run_id,
    )
