"""Where a pipeline, its nodes and their executions can be, and the rules they go by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from prefect_datasets.valohai.pipeline.actions import When
from prefect_datasets.valohai.pipeline.graph import OnError


class OnChildError(StrEnum):
    """What becomes of a task when one of its executions fails."""

    STOP_ALL_AND_ERROR = "stop-all-and-error"
    CONTINUE_AND_ERROR = "continue-and-error"
    CONTINUE_AND_COMPLETE = "continue-and-complete"


class Status(StrEnum):
    """Where a node is."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"


class JobStatus(StrEnum):
    """Where one execution of a node is."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    STOPPED = "stopped"


class Ending(IntEnum):
    """Why a pipeline ends before its nodes have; the greater one wins."""

    STOPPED = 1
    FAILED = 2
    CANCELLED = 3


class Verdict(StrEnum):
    """What became of a pipeline."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Rules:
    """What is said of a node.

    Attributes:
        after: The nodes it comes after.
        on_error: What becomes of the pipeline when it fails.
        on_child_error: What becomes of it when one of its executions fails.
        most_at_once: Most of its executions at once; 0 for as many as there is room for.
    """

    after: frozenset[str] = frozenset()
    on_error: OnError = OnError.STOP_ALL
    on_child_error: OnChildError = OnChildError.STOP_ALL_AND_ERROR
    most_at_once: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at one execution of a node; counted from 0 and from 1."""

    node: str
    index: int
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class JobState:
    """Where one execution is, and at which attempt."""

    status: JobStatus = JobStatus.PENDING
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class NodeState:
    """Where a node is.

    Attributes:
        status: Where.
        jobs: Its executions.
        is_satisfied: Whether its task has what it looked for, and needs no more executions.
        question: What a person is asked to approve: its start, or what it came to.
        is_concluded: Whether what it came to has been looked at, and others may go by it.
    """

    status: Status = Status.WAITING
    jobs: tuple[JobState, ...] = ()
    is_satisfied: bool = False
    question: When | None = None
    is_concluded: bool = False

    def count(self, *statuses: JobStatus) -> int:
        """Count the executions that are at one of these."""
        return sum(job.status in statuses for job in self.jobs)
