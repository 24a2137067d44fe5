"""What the Prefect server says about a run, for the tests here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import Artifact, TaskRun

T = TypeVar("T")


def eventually(look: Callable[[], T | None], *, seconds: float = 20) -> T:
    """Ask until the answer is true: states, logs and events arrive at the server a little late."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found, "the server never knew"
    return found


def logs(flow_run_id: UUID) -> list[str]:
    """Return the messages in a run's log."""
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return [log.message for log in client.read_logs(log_filter=of_run, limit=200)]


def artifacts(flow_run_id: UUID) -> list[Artifact]:
    """Return a run's artifacts."""
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=of_run)


def artifact(flow_run_id: UUID, *, kind: str) -> Artifact | None:
    """Return a run's artifact of a kind, or None."""
    return next((each for each in artifacts(flow_run_id) if each.type == kind), None)


def rows(table: Artifact) -> list[dict[str, Any]]:
    """Return the rows of a table artifact."""
    assert isinstance(table.data, str)
    return json.loads(table.data)


def task_runs(flow_run_id: UUID) -> list[TaskRun]:
    """Return a run's task runs."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return client.read_task_runs(flow_run_filter=of_run)


def events(resource: str) -> list[dict[str, Any]]:
    """Return the events about a resource."""
    body = {"filter": {"resource": {"id": [resource]}}}
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/events/filter", json=body)
    return answer.json()["events"]


def told(resource: str, event: str) -> list[dict[str, Any]]:
    """Return the events of a name about a resource, once there is one."""
    return eventually(lambda: [each for each in events(resource) if each["event"] == event])
