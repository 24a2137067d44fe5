"""How far a pipeline is, and what may happen next: a machine that runs nothing and asks nobody.

    waiting ──prepared──> running ──its jobs end──> complete ─┐
       │  └──refused──────────────────────────────> failed ───┴─concluded──> what comes next may
       ├──a source failed, or the pipeline ended──> skipped
    running ──the pipeline ended──────────────────> stopped

Whoever drives it asks what may be done (`to_prepare`, `to_run`, `to_stop`, `to_ask`,
`to_conclude`), does it, and tells what came of it: `transitions.py` gives the new state. While a
person is asked for approval nothing begins, and what runs goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from prefect_datasets.valohai.pipeline.actions import When
from prefect_datasets.valohai.pipeline.graph import OnError
from prefect_datasets.valohai.pipeline.status import (
    Ending,
    Job,
    JobStatus,
    NodeState,
    OnChildError,
    Rules,
    Status,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class State:
    """How far a pipeline is.

    Attributes:
        rules: What is said of each node, in the file's order.
        nodes: Where each node is.
        capacity: Most executions at once.
        ending: Why it ends early, if it does.
    """

    rules: Mapping[str, Rules]
    nodes: Mapping[str, NodeState]
    capacity: int
    ending: Ending | None = None

    @classmethod
    def begin(cls, rules: Mapping[str, Rules], *, capacity: int) -> Self:
        """Return the state before anything has begun."""
        return cls(rules, dict.fromkeys(rules, NodeState()), max(capacity, 1))

    def to_prepare(self) -> tuple[str, ...]:
        """Return the nodes whose executions can be planned now: all before them have passed."""
        if self._holds_still:
            return ()
        return tuple(
            name
            for name, node in self.nodes.items()
            if node.status is Status.WAITING
            and all(self._has_passed(source) for source in self.rules[name].after)
        )

    def to_run(self) -> tuple[Job, ...]:
        """Return the executions to begin now, as many as there is room for."""
        if self._holds_still:
            return ()
        room = self.capacity - len(self._jobs(JobStatus.RUNNING))
        found: list[Job] = []
        for name, node in self.nodes.items():
            most = self.rules[name].most_at_once or len(node.jobs)
            free = most - node.count(JobStatus.RUNNING)
            found += _jobs_of(name, node, JobStatus.PENDING)[: max(free, 0)]
        return tuple(found[: max(room, 0)])

    def to_stop(self) -> tuple[Job, ...]:
        """Return the executions that run and are no longer wanted."""
        return tuple(
            job
            for job in self._jobs(JobStatus.RUNNING)
            if self.ending is not None or self.is_unwanted(job.node)
        )

    def to_ask(self) -> tuple[tuple[str, When], ...]:
        """Return what a person is to approve: nodes, and what has happened to them."""
        return tuple(
            (name, node.question) for name, node in self.nodes.items() if node.question is not None
        )

    def to_conclude(self) -> tuple[str, ...]:
        """Return the nodes that have ended and whose actions are to be looked at."""
        if self.ending is not None:
            return ()
        return tuple(
            name
            for name, node in self.nodes.items()
            if node.status in (Status.COMPLETE, Status.FAILED) and not node.is_concluded
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing more will."""
        done = all(
            node.status not in (Status.WAITING, Status.RUNNING) for node in self.nodes.values()
        )
        return done and not self.to_conclude() and not self.to_ask()

    def verdict(self) -> Verdict:
        """Return what became of it, once it is over."""
        if self.ending is not None:
            return Verdict[self.ending.name]
        left_undone = any(
            node.status is Status.FAILED and self.rules[name].on_error is not OnError.CONTINUE
            for name, node in self.nodes.items()
        )
        return Verdict.FAILED if left_undone else Verdict.COMPLETE

    def is_unwanted(self, name: str) -> bool:
        """Tell whether what a node still runs serves nothing any more."""
        node = self.nodes[name]
        stops = self.rules[name].on_child_error is OnChildError.STOP_ALL_AND_ERROR
        return node.is_satisfied or (stops and node.count(JobStatus.FAILED) > 0)

    def is_lost(self, name: str) -> bool:
        """Tell whether a node can't come any more: something before it failed or was skipped."""
        if self.nodes[name].status is not Status.WAITING:
            return False
        return any(self._blocks(source) for source in self.rules[name].after)

    @property
    def _holds_still(self) -> bool:
        return self.ending is not None or bool(self.to_ask())

    def _has_passed(self, name: str) -> bool:
        node = self.nodes[name]
        may = node.status is Status.COMPLETE or (
            node.status is Status.FAILED and self.rules[name].on_error is OnError.CONTINUE
        )
        return may and node.is_concluded and node.question is None

    def _jobs(self, status: JobStatus) -> list[Job]:
        return [job for name, node in self.nodes.items() for job in _jobs_of(name, node, status)]

    def _blocks(self, name: str) -> bool:
        node = self.nodes[name]
        failed = node.status is Status.FAILED and node.is_concluded
        return node.status is Status.SKIPPED or (
            failed and self.rules[name].on_error is not OnError.CONTINUE
        )


def _jobs_of(name: str, node: NodeState, status: JobStatus) -> list[Job]:
    return [
        Job(name, index, job.attempt)
        for index, job in enumerate(node.jobs)
        if job.status is status and node.status is Status.RUNNING
    ]
