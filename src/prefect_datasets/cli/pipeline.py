"""`run --pipeline NAME`: a pipeline of a valohai.yaml.

Where a Prefect API is configured it is a flow run there; with none its executions run in threads.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from prefect_datasets.cli.describe import version_json
from prefect_datasets.cli.interrupt import ending_in_order
from prefect_datasets.cli.output import show, show_json, table
from prefect_datasets.cli.place import choose
from prefect_datasets.cli.prefect_api import configured_api
from prefect_datasets.cli.run import report
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.settings import Settings
from prefect_datasets.valohai.pipeline.actions import Then
from prefect_datasets.valohai.pipeline.host import Answer, Question
from prefect_datasets.valohai.pipeline.plan import PipelinePlan, plan_pipeline
from prefect_datasets.valohai.pipeline.report import lines
from prefect_datasets.valohai.reading.config import load

if TYPE_CHECKING:
    import argparse

    from prefect_datasets.valohai.pipeline.outcome import ExecutionOutcome, PipelineOutcome
    from prefect_datasets.valohai.pipeline.threads import ThreadHost
    from prefect_datasets.valohai.running.runner import StepLog
    from prefect_datasets.valohai.running.step_inputs import StepInput

_LOOK_SECONDS = 0.2


def run(chosen: argparse.Namespace) -> int:
    """Run a pipeline."""
    from prefect_datasets.cli.step import fill, given_of  # noqa: PLC0415  which calls this module

    config, run_id = load(chosen.file), str(uuid4())
    plan = plan_pipeline(config, chosen.pipeline, given_of(chosen), fill=fill, seed=run_id)
    api = configured_api()
    if api:
        api.check()
        outcome = _as_flow(chosen, plan)
    else:
        _check_can_ask(plan)
        outcome = _drive(chosen, plan, run_id)
    if outcome is None:
        return 1
    return _show(outcome, as_json=chosen.json)


def _show(outcome: PipelineOutcome, *, as_json: bool) -> int:
    if as_json:
        show_json(outcome_json(outcome))
    else:
        show(table(("node", "", "took", "made"), lines(outcome)))
    if outcome.error is not None:
        report(outcome.error)
    return 0 if outcome.error is None else 1


def outcome_json(outcome: PipelineOutcome) -> dict[str, Any]:
    """Return what programs read about a pipeline's run."""
    return {
        "id": outcome.id,
        "pipeline": outcome.name,
        "verdict": str(outcome.verdict),
        "nodes": [
            {
                "name": node.name,
                "status": str(node.status),
                "seconds": round(node.seconds, 3),
                "error": str(node.error) if node.error else None,
                "executions": [_execution_json(each) for each in node.executions],
            }
            for node in outcome.nodes
        ],
        "versions": [version_json(record) for record in outcome.versions],
        "error": str(outcome.error) if outcome.error else None,
    }


def _execution_json(execution: ExecutionOutcome) -> dict[str, Any]:
    from prefect_datasets.cli.step import outcome_json as of_step  # noqa: PLC0415  likewise

    known = {"title": execution.title, "status": str(execution.status)}
    return known | (of_step(execution.outcome) if execution.outcome else {})


def _as_flow(chosen: argparse.Namespace, plan: PipelinePlan) -> PipelineOutcome | None:
    from prefect_datasets.cli import pipeline_as_flow  # noqa: PLC0415  imports Prefect

    return pipeline_as_flow.run(chosen, plan)


def _drive(chosen: argparse.Namespace, plan: PipelinePlan, run_id: str) -> PipelineOutcome:
    from prefect_datasets.valohai.pipeline.drive import drive  # noqa: PLC0415  pyarrow

    for warning in plan.warnings:
        _tell(f"warning: {warning}")
    with ending_in_order("the nodes"):
        return drive(plan, _host(chosen), capacity=os.cpu_count() or 1, run_id=run_id)


def _host(chosen: argparse.Namespace) -> ThreadHost:
    from prefect_datasets.valohai.pipeline.threads import ThreadHost  # noqa: PLC0415  pyarrow
    from prefect_datasets.valohai.running.runner import Runner  # noqa: PLC0415

    place, settings = choose(chosen), Settings.read()
    return ThreadHost(
        store=place.store(),
        cache=place.cache(),
        runner=Runner(
            runs=settings.runs,
            packaging_switch=settings.packaging_switch,
            environment=dict(os.environ),
            namespace=chosen.namespace,
        ),
        log_of=NodeLog,
        asks=_ask,
        notes=_tell,
        warns=lambda message: _tell(f"warning: {message}"),
    )


# -- the terminal --------------------------------------------------------------------------------

_printing = threading.Lock()


class NodeLog:
    """Prints what one execution says on standard error, each line behind its title.

    Args:
        title: What people call the execution.
    """

    def __init__(self, title: str) -> None:
        self._title = title

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None:
        """Say nothing: several executions would share one bar."""

    def advance(self, *, n_files: int, n_bytes: int) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Print a line."""
        self.line(message)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self.line(f"warning: {message}")

    def brought(self, found: StepInput) -> None:
        """Say nothing: the engine has noted it."""

    def line(self, text: str) -> None:
        """Print what the step printed."""
        for line in text.splitlines():
            _tell(f"[{self._title}] {line}")


def _tell(text: str) -> None:
    encoding = sys.stderr.encoding or "utf-8"
    with _printing:
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()


def _check_can_ask(plan: PipelinePlan) -> None:
    """See that there is somebody to ask before hours of work wait for an answer.

    Raises:
        InvalidInputError: There is nobody.
    """
    if _is_terminal():
        return
    for name, node in plan.nodes.items():
        if any(Then.APPROVAL in action.then for action in node.actions):
            raise InvalidInputError(
                f"Node {name!r} can require approval, and there is nobody to ask",
                subject=plan.name,
                hint="Run it in a terminal, or configure a Prefect API: there the run pauses until "
                "somebody resumes it in the UI.",
            )


def _is_terminal() -> bool:
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr.isatty())


def _ask(question: Question) -> Answer:
    """Ask on the terminal; a question that is withdrawn meanwhile needs no answer."""
    facts = "".join(f"\n  {fact}" for fact in question.facts)
    _tell(f"{question.text}{facts}\nyes or no, and a comment if you like:")
    while not question.withdrawn.is_set():
        if select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
            text = sys.stdin.readline()
            word, _, comment = text.strip().partition(" ")
            if not text or word.lower() in ("n", "no"):
                return Answer(is_approved=False, comment=comment)
            if word.lower() in ("y", "yes"):
                return Answer(is_approved=True, comment=comment)
            _tell("yes or no?")
    return Answer(is_approved=False)


if TYPE_CHECKING:
    _checked: type[StepLog] = NodeLog
