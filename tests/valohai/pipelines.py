"""Pipelines whose executions do what a test says, in threads, without running anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from prefect_datasets.valohai.errors import StepCancelledError, StepFailedError
from prefect_datasets.valohai.pipeline.host import Answer, Question, Work
from prefect_datasets.valohai.pipeline.outcome import PipelineOutcome
from prefect_datasets.valohai.plan import Outcome, Output
from prefect_datasets.valohai.reading.config import Config, load

STEPS = """
- step:
    name: make
    image: python:3.11
    command: python make.py {parameters}
    parameters:
      - {name: size, type: integer, default: 3}
- step:
    name: train
    image: python:3.11
    command: ['python train.py {parameters}', 'echo {parameter:lr}']
    parameters:
      - {name: lr, type: float, default: 0.1, pass-as: '-l {v}'}
      - {name: epochs, type: integer, default: 1, min: 1, max: 100}
      - {name: tags, type: string, multiple: repeat, optional: true}
      - {name: fast, type: flag, default: true}
    inputs:
      - {name: images, default: 'dataset://images/v1'}
      - {name: weights, optional: true}
    environment-variables:
      - {name: MODE, default: full}
- step:
    name: report
    image: python:3.11
    command: python report.py
    inputs:
      - {name: models}
"""

Does = Callable[[Work], Outcome]


def config(folder: Path, text: str, *, steps: str = STEPS) -> Config:
    """Write a `valohai.yaml` of steps and what is in `text`, and load it."""
    file = folder / "valohai.yaml"
    file.write_text(dedent(steps) + dedent(text), encoding="utf-8")
    return load(file)


def ok(work: Work, *paths: str, metadata: Mapping[str, Any] | None = None, **more: Any) -> Outcome:
    """Return what an execution came to that wrote files of these paths."""
    return Outcome(
        execution=work.title,
        exit_code=0,
        outputs=tuple(Output(path, 1, datum(work.title, path)) for path in paths),
        metadata=metadata or {},
        inputs={each.name: each.uris for each in work.job.plan.inputs},
        parameters=work.job.plan.parameters,
        **more,
    )


def bad(work: Work, message: str = "The commands failed", *paths: str, **more: Any) -> Outcome:
    """Return what an execution came to that failed, after it wrote these files."""
    outcome = ok(work, *paths, **more)
    error = StepFailedError(message, subject=work.job.plan.step, hint="See its log.", exit_code=3)
    return Outcome(outcome.execution, 3, outputs=outcome.outputs, error=error)


def datum(title: str, path: str) -> str:
    """Return the id of a file that an execution wrote."""
    return str(uuid5(NAMESPACE_URL, f"{title}/{path}"))


def until_cancelled(work: Work) -> Outcome:
    """Run until somebody ends it."""
    deadline = time.monotonic() + 60
    while not work.control.is_cancelled:
        assert time.monotonic() < deadline, "nobody ended it"
        time.sleep(0.005)
    error = StepCancelledError("Somebody ended the step", subject=work.title, exit_code=143)
    return Outcome(work.title, 143, error=error)


@dataclass
class ScriptedHost:
    """Does in threads what is said of each execution, by its title or its node's name.

    Attributes:
        does: What executions do; those that are not named write nothing and succeed.
        answers: What people say, by node; a function that gets the question.
        works: What was begun, in order.
        questions: What was asked.
        notes: What was told.
        shown: What was shown at the end.
    """

    does: Mapping[str, Does] = field(default_factory=dict[str, Does])
    answers: Mapping[str, Callable[[Question], Answer]] = field(
        default_factory=dict[str, Callable[[Question], Answer]]
    )
    works: list[Work] = field(default_factory=list[Work])
    questions: list[Question] = field(default_factory=list[Question])
    notes: list[str] = field(default_factory=list[str])
    shown: list[PipelineOutcome] = field(default_factory=list[PipelineOutcome])

    def begin(self, work: Work, done: Callable[[Outcome], None]) -> None:
        self.works.append(work)
        node = work.job.title.partition("/")[0]
        does = self.does.get(work.title) or self.does.get(node) or ok
        threading.Thread(target=lambda: done(does(work)), daemon=True).start()

    def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        return self.answers[question.node](question)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.notes.append(f"warning: {message}")

    def show(self, outcome: PipelineOutcome) -> None:
        self.shown.append(outcome)

    def work(self, title: str) -> Work:
        """Return an execution that was begun."""
        return next(work for work in self.works if work.title == title)

    @property
    def titles(self) -> list[str]:
        """The executions that were begun, in order."""
        return [work.title for work in self.works]
