"""Where the executions of a pipeline run, and who is asked: what a driver needs of its host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from prefect_datasets.valohai.pipeline.actions import When
from prefect_datasets.valohai.pipeline.jobs import JobPlan
from prefect_datasets.valohai.pipeline.outcome import PipelineOutcome
from prefect_datasets.valohai.plan import Outcome
from prefect_datasets.valohai.running.config_files import ExecutionInfo
from prefect_datasets.valohai.running.runner import Control


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt at one execution, to be run.

    Attributes:
        title: What people call it.
        job: What runs.
        info: What it can learn about the run it is.
        control: Ends it.
    """

    title: str
    job: JobPlan
    info: ExecutionInfo
    control: Control


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is to approve.

    Attributes:
        pipeline: The pipeline.
        node: The node.
        when: Whether it is about to start, or what it came to.
        facts: What there is to know, a line each.
        withdrawn: Set when the answer is of no use any more.
    """

    pipeline: str
    node: str
    when: When
    facts: tuple[str, ...]
    withdrawn: threading.Event

    @property
    def text(self) -> str:
        """The question."""
        asked = {
            When.STARTING: f"Shall node {self.node!r} start?",
            When.COMPLETE: f"Node {self.node!r} is complete. Shall the pipeline go on?",
            When.ERROR: f"Node {self.node!r} failed. Shall the pipeline go on?",
        }
        return asked[self.when]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person says."""

    is_approved: bool
    comment: str = ""


class Host(Protocol):
    """Runs what a driver tells it to."""

    def begin(self, work: Work, done: Callable[[Outcome], None]) -> None:
        """Begin an execution and return at once; `done` is called from any thread, once."""

    def ask(self, question: Question) -> Answer:
        """Ask a person, for as long as it takes; a question that is withdrawn has any answer."""
        ...

    def note(self, message: str) -> None:
        """Tell how the pipeline goes on."""

    def warn(self, message: str) -> None:
        """Tell what may not be as people think."""

    def show(self, outcome: PipelineOutcome) -> None:
        """Show what became of the pipeline; called once, also where it was ended from outside."""
