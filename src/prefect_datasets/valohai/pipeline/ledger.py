"""What is known of each node while a pipeline runs: its executions, what came of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.valohai.pipeline.handover import Ended, EndedNode
from prefect_datasets.valohai.pipeline.jobs import JobPlan
from prefect_datasets.valohai.pipeline.outcome import ExecutionOutcome, NodeOutcome
from prefect_datasets.valohai.pipeline.state import State
from prefect_datasets.valohai.pipeline.status import JobStatus, NodeState, Status
from prefect_datasets.valohai.plan import Outcome


@dataclass(slots=True)
class NodeLedger:
    """What is known of a node.

    Attributes:
        name: Its name.
        id: Its id in this run.
        jobs: Its executions; none before they are planned.
        outcomes: What came of the last attempt at each that ended, by its index.
        error: Why it failed, as far as it did not lie in an execution.
        notes: What people should know of it, a line each.
    """

    name: str
    id: str = field(default_factory=lambda: str(uuid4()))
    jobs: tuple[JobPlan, ...] = ()
    outcomes: dict[int, Outcome] = field(default_factory=dict[int, Outcome])
    error: DatasetError | None = None
    notes: list[str] = field(default_factory=list[str])
    _began: float = 0.0
    _ended: float = 0.0

    def begin(self) -> None:
        """Note when its turn came."""
        self._began = self._ended = time.monotonic()

    def take(self, index: int, outcome: Outcome) -> None:
        """Take what came of an attempt at an execution."""
        self.outcomes[index] = outcome
        self._ended = time.monotonic()

    def ended(self, status: Status) -> EndedNode:
        """Return the node as those after it see it."""
        executions = (Ended(job.plan, self.outcomes.get(i)) for i, job in enumerate(self.jobs))
        return EndedNode(self.name, status, tuple(executions))

    def metadata(self, status: Status) -> dict[str, Any]:
        """Return the last value of everything that it printed, its executions in order."""
        merged: dict[str, Any] = {}
        for each in self.ended(status).telling:
            merged |= each.outcome.metadata if each.outcome else {}
        return merged

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The values it runs with; those of its last execution where they differ."""
        return self.jobs[-1].plan.parameters if self.jobs else {}

    def outcome(self, state: NodeState) -> NodeOutcome:
        """Return what became of it."""
        return NodeOutcome(
            name=self.name,
            status=state.status,
            executions=tuple(self._executions(state)),
            error=self._error(state) if state.status is Status.FAILED else None,
            notes=tuple(self.notes),
            seconds=self._ended - self._began,
        )

    def _error(self, state: NodeState) -> DatasetError | None:
        """Return why it failed: its own error, or that of its first execution that failed."""
        for index, job in enumerate(state.jobs):
            if job.status is JobStatus.FAILED and self.error is None and index in self.outcomes:
                return self.outcomes[index].error
        return self.error

    def _executions(self, state: NodeState) -> Iterable[ExecutionOutcome]:
        for index, job in enumerate(self.jobs):
            yield ExecutionOutcome(
                title=job.title,
                status=state.jobs[index].status,
                n_attempts=state.jobs[index].attempt if index in self.outcomes else 0,
                tried=job.tried,
                outcome=self.outcomes.get(index),
            )


class Ledger:
    """What is known of all nodes.

    Args:
        names: The nodes, in the file's order.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._nodes = {name: NodeLedger(name) for name in names}

    def __getitem__(self, name: str) -> NodeLedger:
        return self._nodes[name]

    def ended(self, names: Iterable[str], state: State) -> dict[str, EndedNode]:
        """Return nodes as those after them see them."""
        return {name: self[name].ended(state.nodes[name].status) for name in names}

    def facts(self, names: Iterable[str], state: State, *, most: int) -> list[str]:
        """Return what people may want to know of nodes: what they printed and made."""
        lines: list[str] = []
        for name in names:
            metadata = self[name].metadata(state.nodes[name].status)
            lines += [f"{name}: {key} = {value}" for key, value in metadata.items()]
            made = (v for outcome in self[name].outcomes.values() for v in outcome.versions)
            lines += [f"{name}: made {version.uri}" for version in made]
        return lines[:most]

    def outcomes(self, state: State) -> Sequence[NodeOutcome]:
        """Return what became of all nodes."""
        return [node.outcome(state.nodes[name]) for name, node in self._nodes.items()]
