"""The Prefect run that the caller is in."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


@dataclass(frozen=True, slots=True)
class Run:
    """The run that the caller is in.

    Attributes:
        logger: Its logger; taken once, because worker threads of the engine have no run context.
        flow_run_id: The flow run, if there is one: a task can run alone.
        task_run_id: The task run, if the caller is in a task.
    """

    logger: Logger
    flow_run_id: UUID | None
    task_run_id: UUID | None

    @property
    def can_submit(self) -> bool:
        """Whether tasks may be submitted: a task that waits for others can block a full pool."""
        return self.flow_run_id is not None and self.task_run_id is None


def current_run() -> Run | None:
    """Return the run that the caller is in, or None."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    flow_run_id = flow.flow_run.id if flow is not None and flow.flow_run is not None else None
    if task is not None:
        of_task = task.task_run.flow_run_id
        # A flow that was called by a task keeps the task's context; it is a flow nevertheless.
        if flow_run_id is None or of_task == flow_run_id:
            return Run(get_run_logger(), flow_run_id or of_task, task.task_run.id)
    if flow_run_id is None:
        return None
    return Run(get_run_logger(), flow_run_id, None)


def run_count() -> int:
    """Return the how manieth attempt of the flow run this is; 0 outside a flow run."""
    context = FlowRunContext.get()
    return context.flow_run.run_count if context is not None and context.flow_run else 0


def scheduled_start() -> datetime:
    """Return when the run was due; for a run started by another flow, when that one was.

    Outside a run that is now. It stays the same for late runs and for retries.
    """
    run = current_run()
    if run is None or run.flow_run_id is None:
        return datetime.now(UTC)
    root = flow_run.root_flow_run_id
    if root is None or root == str(run.flow_run_id):
        return cast("datetime", flow_run.scheduled_start_time)
    due = read_flow_run(UUID(root)).expected_start_time
    return due or cast("datetime", flow_run.scheduled_start_time)


def read_flow_run(flow_run_id: UUID) -> "FlowRun":
    """Ask the API for a flow run."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run_id)
