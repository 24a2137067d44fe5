"""What became of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.valohai.pipeline.graph import Edge
from prefect_datasets.valohai.pipeline.status import JobStatus, Status, Verdict
from prefect_datasets.valohai.plan import Outcome


class PipelineEndedError(DatasetError):
    """A pipeline ended before all of it was done.

    Args:
        message: What ended it; where a node failed, that node's error.
        subject: The node, or what its error is about.
        hint: What to do now.
        verdict: How it ended.
    """

    def __init__(
        self,
        message: str,
        *,
        subject: str = "",
        hint: str = "",
        verdict: Verdict = Verdict.FAILED,
    ) -> None:
        super().__init__(message, subject=subject, hint=hint)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class ExecutionOutcome:
    """What became of one execution of a node.

    Attributes:
        title: What people call it.
        status: How it ended.
        n_attempts: How often it was tried; 0 where it never began.
        tried: The values that tell it from the node's other executions.
        outcome: What came of its last attempt; None where it never began.
    """

    title: str
    status: JobStatus
    n_attempts: int = 0
    tried: Mapping[str, Any] = field(default_factory=dict[str, Any])
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """What became of a node.

    Attributes:
        name: Its name.
        status: How it ended.
        executions: Its executions; none where they could not be planned, or were not needed.
        error: Why it failed; None where it did not.
        notes: What people should know of it, a line each.
        seconds: How long it ran, waiting for its turn included.
    """

    name: str
    status: Status
    executions: tuple[ExecutionOutcome, ...] = ()
    error: DatasetError | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def versions(self) -> tuple[VersionRecord, ...]:
        """The dataset versions it made."""
        return tuple(
            version
            for execution in self.executions
            if execution.outcome
            for version in execution.outcome.versions
        )


@dataclass(frozen=True, slots=True)
class PipelineOutcome:
    """What became of a pipeline.

    Attributes:
        id: Id of the run.
        name: The pipeline.
        verdict: How it ended.
        nodes: Its nodes, in the file's order.
        edges: What they handed over.
        error: Where it did not complete, the same as an error.
    """

    id: str
    name: str
    verdict: Verdict
    nodes: tuple[NodeOutcome, ...] = ()
    edges: tuple[Edge, ...] = ()
    error: PipelineEndedError | None = None

    @property
    def versions(self) -> tuple[VersionRecord, ...]:
        """The dataset versions it made, in the order of the nodes."""
        return tuple(version for node in self.nodes for version in node.versions)
