"""Run a pipeline's executions as task runs of the flow run that the caller is in.

Tasks and not subflows: a subflow costs a second of heartbeat and blocks the thread that calls it;
a task costs milliseconds, runs beside others, and has a log, a state and a place in the run's
picture just as well.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.flow_runs import pause_flow_run, resume_flow_run
from prefect.futures import PrefectFuture
from prefect.input import RunInput
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.amounts import count
from prefect_datasets.flows.step import runner
from prefect_datasets.tasks import artifacts, step_summary
from prefect_datasets.tasks.announce import announce
from prefect_datasets.tasks.run import Run, current_run
from prefect_datasets.tasks.step_log import RunStepLog
from prefect_datasets.valohai.errors import StepCancelledError
from prefect_datasets.valohai.pipeline.host import Answer, Question, Work
from prefect_datasets.valohai.pipeline.outcome import PipelineOutcome
from prefect_datasets.valohai.pipeline.report import summary
from prefect_datasets.valohai.pipeline.threads import broken
from prefect_datasets.valohai.plan import Outcome
from prefect_datasets.valohai.running.execute import execute
from prefect_datasets.valohai.running.runner import NamespaceChoice

_PAUSE_SECONDS = 90 * 24 * 3600
_POLL_SECONDS = 3
_WITHDRAW_SECONDS = 1.0


class Approval(RunInput):
    """What a person says in the Prefect UI; a form there."""

    approved: bool = Field(
        default=True, title="Approved", description="Off stops the pipeline here."
    )
    comment: str = Field(default="", title="Comment", description="Goes into the run's log.")


@dataclass
class _Slot:
    """What a task run is to do, and what came of it."""

    work: Work
    host: "FlowHost"
    outcome: Outcome | None = None


# Task runs get no live objects, which Prefect would walk through, but a name that leads to them.
_slots: dict[str, _Slot] = {}


def _title(parameters: dict[str, Any] | None = None) -> str:
    assert parameters, "Prefect gives them"
    return str(parameters["title"])


@task(task_run_name=_title, cache_policy=NO_CACHE, persist_result=False)
def run_node(title: str, step: str, slot: str) -> State[None]:  # noqa: ARG001 - names the run
    """Run one execution of a node.

    Args:
        title: What people call it.
        step: The step it runs.
        slot: Name of what it is to do, in this process.
    """
    here = _slots[slot]
    try:
        outcome = here.outcome = here.host.execute(here.work)
    except Exception as error:  # noqa: BLE001 - the driver is told, or it waits for ever
        outcome = here.outcome = broken(here.work, error)
    error = outcome.error
    if error is None:
        return Completed(message=f"{step}: {count(len(outcome.outputs), 'output')}")
    return (Cancelled if isinstance(error, StepCancelledError) else Failed)(message=str(error))


@dataclass
class FlowHost:
    """Runs executions in the flow run of the caller, and asks by a pause of it.

    Attributes:
        run: The flow run.
        store: Where inputs are and outputs go.
        namespace: How steps get their `/valohai`.
    """

    run: Run
    store: DatasetStore
    namespace: NamespaceChoice = "auto"
    _machine: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._machine = runner(self.namespace)

    def begin(self, work: Work, done: Callable[[Outcome], None]) -> None:
        """Submit a task run."""
        name = uuid4().hex
        slot = _slots[name] = _Slot(work, self)

        def tell(_: PrefectFuture[Any]) -> None:
            del _slots[name]
            done(slot.outcome or broken(work, RuntimeError("the task run did not begin")))

        # Prefect's overloads for tasks that take anything are not fully typed.
        future = run_node.submit(work.title, work.job.plan.step, name)  # pyright: ignore[reportUnknownMemberType]
        future.add_done_callback(tell)

    def execute(self, work: Work) -> Outcome:
        """Run an execution in the task run of the caller."""
        run = current_run()
        assert run is not None, "a task run"
        plan = work.job.plan
        # No alias is pinned for the whole run: a node may want what one before it has just made.
        with RunStepLog(run, store=self.store, asked={}) as log:
            outcome = execute(
                plan,
                store=self.store.open(),
                cache=self.store.cache(),
                runner=self._machine,
                log=log,
                control=work.control,
                info=replace(
                    work.info, more={**work.info.more, "flow-run-id": str(run.flow_run_id)}
                ),
            )
        step_summary.show(run, plan, outcome)
        for record in outcome.versions:
            announce(run, record, store=self.store)
        return outcome

    def ask(self, question: Question) -> Answer:
        """Pause the flow run until somebody resumes it."""
        assert self.run.flow_run_id is not None
        with _withdrawing(question, self.run.flow_run_id):
            told: Approval = pause_flow_run(
                wait_for_input=Approval.with_initial_data(description=_described(question)),
                timeout=_PAUSE_SECONDS,
                poll_interval=_POLL_SECONDS,
            )
        return Answer(told.approved, told.comment)

    def note(self, message: str) -> None:
        """Say a line in the run's log."""
        self.run.logger.info("%s", message)

    def warn(self, message: str) -> None:
        """Say a line in the run's log, as a warning."""
        self.run.logger.warning("%s", message)

    def show(self, outcome: PipelineOutcome) -> None:
        """Leave the pipeline's picture with the run."""
        slug = "".join(c if c.isalnum() and c.isascii() else "-" for c in outcome.name.lower())
        artifacts.create_markdown(
            self.run,
            key=f"pipeline-{slug}".strip("-"),
            markdown=summary(outcome),
            description=f"{outcome.name}: {outcome.verdict}",
        )


def _described(question: Question) -> str:
    facts = "\n".join(f"- {fact}" for fact in question.facts)
    return f"**{question.pipeline}**: {question.text}\n\n{facts}"


@contextmanager
def _withdrawing(question: Question, flow_run_id: UUID) -> Generator[None]:
    """Resume the paused flow run once the question is withdrawn."""
    answered = threading.Event()

    def watch() -> None:
        while not answered.wait(_WITHDRAW_SECONDS):
            if question.withdrawn.is_set():
                _resume(flow_run_id)

    threading.Thread(target=watch, name="withdrawal", daemon=True).start()
    try:
        yield
    finally:
        answered.set()


def _resume(flow_run_id: UUID) -> None:
    try:
        resume_flow_run(flow_run_id, run_input={"approved": False, "comment": "withdrawn"})
    except Exception:  # noqa: BLE001 - not paused yet, or not any more; asked again in a moment
        return
