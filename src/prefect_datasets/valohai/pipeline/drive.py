"""Drive a pipeline: begin what its state says may begin, until all is done.

Executions run in the host, which tells from its own threads when one has ended; what follows from
that (another is not wanted any more, the pipeline has failed) is done at once, also while a person
is being asked. Only the driver's own thread begins executions and asks people.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import uuid4

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline import transitions
from prefect_datasets.valohai.pipeline.actions import Then, When, evaluate, holds
from prefect_datasets.valohai.pipeline.handover import Handed, hand_over
from prefect_datasets.valohai.pipeline.host import Answer, Host, Question, Work
from prefect_datasets.valohai.pipeline.ledger import Ledger
from prefect_datasets.valohai.pipeline.outcome import (
    NodeOutcome,
    PipelineEndedError,
    PipelineOutcome,
)
from prefect_datasets.valohai.pipeline.plan import PipelinePlan
from prefect_datasets.valohai.pipeline.state import State
from prefect_datasets.valohai.pipeline.status import Job, Status, Verdict
from prefect_datasets.valohai.plan import Outcome
from prefect_datasets.valohai.running.config_files import ExecutionInfo
from prefect_datasets.valohai.running.runner import Control

_MOST_FACTS = 40
# A signal that another thread got is seen no later than this.
_LOOK_SECONDS = 1.0


def drive(plan: PipelinePlan, host: Host, *, capacity: int, run_id: str = "") -> PipelineOutcome:
    """Run a pipeline.

    Args:
        plan: What runs.
        host: Where, and who is asked.
        capacity: Most executions at once.
        run_id: Id of the run; left out, a new one.

    Returns:
        What became of it; one that did not complete has an `error`.

    Raises:
        BaseException: What ended this thread, such as Ctrl-C. All executions have ended then.
    """
    driver = _Driver(plan, host, capacity, run_id or str(uuid4()))
    try:
        driver.go()
    except BaseException:
        driver.end()
        host.show(driver.outcome())
        raise
    outcome = driver.outcome()
    host.show(outcome)
    return outcome


class _Driver:
    def __init__(self, plan: PipelinePlan, host: Host, capacity: int, run_id: str) -> None:
        self._plan, self._host, self._id = plan, host, run_id
        rules = {name: node.rules for name, node in plan.nodes.items()}
        self._state = State.begin(rules, capacity=capacity)
        self._ledger = Ledger(plan.nodes)
        self._controls: dict[Job, Control] = {}
        self._asked: dict[str, threading.Event] = {}
        self._why: list[str] = []
        self._failed: list[str] = []
        self._broken: BaseException | None = None
        # Taken again by its holder: an execution may end while it is begun.
        self._changed = threading.Condition(threading.RLock())

    # -- the driver's thread -------------------------------------------------------------------

    def go(self) -> None:
        """Begin what may begin, ask what is to be asked, wait; until it is over."""
        while True:
            with self._changed:
                if self._broken is not None:
                    raise self._broken
                self._go_on()
                if self._state.is_over:
                    return
                asked = self._state.to_ask()
                if not asked:
                    self._changed.wait(_LOOK_SECONDS)
                    continue
                question = self._question(*asked[0])
            self._host.note(f"Waiting for approval: {question.text}")
            self._answer(question, self._host.ask(question))

    def end(self) -> None:
        """End everything that runs, and wait until it has ended."""
        with self._changed:
            self._state = transitions.cancelled(self._state)
            self._stop_unwanted()
            while not self._state.is_over and self._broken is None:
                self._changed.wait(_LOOK_SECONDS)

    def _go_on(self) -> None:
        while names := self._state.to_prepare():
            self._prepare(names[0])
            self._conclude()
        while jobs := self._state.to_run():
            self._begin(jobs[0])

    def _prepare(self, name: str) -> None:
        node = self._ledger[name]
        node.begin()
        try:
            handed = self._hand_over(name)
            node.jobs = self._plan.executions(name, handed, seed=self._id)
        except InvalidInputError as error:
            node.error = error
            self._state = transitions.refused(self._state, name)
            self._host.warn(f"{name}: {error}")
            return
        node.notes += handed.notes
        for note in handed.notes:
            self._host.warn(f"{name}: {note}")
        thens = self._fired(name, When.STARTING)
        self._state = transitions.prepared(self._state, name, len(node.jobs), thens)

    def _hand_over(self, name: str) -> Handed:
        node = self._plan.nodes[name]
        return hand_over(
            self._plan.graph.into(name),
            self._ledger.ended(node.rules.after, self._state),
            may_be_empty=self._plan.inputs_that_may_be_empty(name),
            may_collide=self._plan.inputs_with_folders(name),
        )

    def _begin(self, job: Job) -> None:
        plan = self._ledger[job.node].jobs[job.index]
        title = plan.title + (f" (attempt {job.attempt})" if job.attempt > 1 else "")
        tried = ", ".join(f"{name}={value}" for name, value in plan.tried.items())
        self._host.note(f"{title}: step {plan.plan.step!r}" + (f" with {tried}" if tried else ""))
        control = self._controls[job] = Control()
        self._state = transitions.started(self._state, job)
        work = Work(title, plan, self._info(job, title), control)
        try:
            self._host.begin(work, partial(self._ended, job))
        except BaseException:
            self._state = transitions.ended(self._state, job, is_ok=False)
            raise

    def _info(self, job: Job, title: str) -> ExecutionInfo:
        node = self._ledger[job.node]
        more: dict[str, Any] = {
            "pipeline-id": self._id,
            "pipeline-counter": 1,
            "pipeline-title": self._plan.name,
            "pipeline-tags": [],
            "pipeline-node-id": node.id,
        }
        if self._plan.nodes[job.node].is_task:
            more |= {"task-id": node.id, "task-counter": 1}
        return ExecutionInfo(id="", counter=job.index + 1, title=title, more=more)

    def _question(self, name: str, when: When) -> Question:
        withdrawn = self._asked[name] = threading.Event()
        after = self._plan.nodes[name].rules.after
        about = [n for n in self._plan.nodes if n in after] if when is When.STARTING else [name]
        facts = self._ledger.facts(about, self._state, most=_MOST_FACTS)
        return Question(self._plan.name, name, when, tuple(facts), withdrawn)

    def _answer(self, question: Question, answer: Answer) -> None:
        with self._changed:
            if question.withdrawn.is_set():
                return
            said = "Approved" if answer.is_approved else "Not approved"
            said += f": {answer.comment}" if answer.comment else ""
            self._host.note(f"{question.text} {said}")
            if not answer.is_approved:
                self._why.append(f"{question.node}: {said[0].lower()}{said[1:]}")
            self._state = transitions.answered(
                self._state, question.node, is_approved=answer.is_approved
            )
            self._stop_unwanted()

    # -- any thread ----------------------------------------------------------------------------

    def _ended(self, job: Job, outcome: Outcome) -> None:
        """Take what became of an execution; an error of ours ends the driver, not the thread."""
        with self._changed:
            try:
                self._take(job, outcome)
            except BaseException as error:  # noqa: BLE001 - raised again by the driver's thread
                self._broken = error
            self._changed.notify_all()

    def _take(self, job: Job, outcome: Outcome) -> None:
        """Do what follows from an execution's end, but begin no other."""
        self._ledger[job.node].take(job.index, outcome)
        is_ok = outcome.error is None
        satisfies = is_ok and self._satisfies(job, outcome)
        self._state = transitions.ended(self._state, job, is_ok=is_ok, satisfies=satisfies)
        title = self._ledger[job.node].jobs[job.index].title
        if outcome.error is None:
            number = len(outcome.outputs)
            self._host.note(f"{title}: complete, {number:,} output{'' if number == 1 else 's'}")
        else:
            self._host.warn(f"{title}: {outcome.error}")
        self._conclude()
        self._stop_unwanted()

    def _satisfies(self, job: Job, outcome: Outcome) -> bool:
        condition = self._plan.nodes[job.node].stop_condition
        if not condition:
            return False
        return holds(condition, metadata=outcome.metadata, parameters=outcome.parameters)

    def _conclude(self) -> None:
        """Look at the actions of nodes that have ended, and let others go by them."""
        while names := self._state.to_conclude():
            name = names[0]
            failed = self._state.nodes[name].status is Status.FAILED
            if failed:
                self._failed.append(name)
            thens = self._fired(name, When.ERROR if failed else When.COMPLETE)
            self._state = transitions.concluded(self._state, name, thens)

    def _fired(self, name: str, when: When) -> list[Then]:
        node = self._ledger[name]
        verdicts = evaluate(
            self._plan.nodes[name].actions,
            when,
            metadata=node.metadata(self._state.nodes[name].status),
            parameters=node.parameters,
        )
        for note in verdicts.notes:
            self._host.warn(f"{name}: {note}")
        for fired in verdicts.fired:
            self._host.note(f"{name}: {fired.then}, because of {fired.why}")
            if fired.then in (Then.STOP, Then.FAIL):
                self._why.append(f"{name}: {fired.then}, because of {fired.why}")
        return [fired.then for fired in verdicts.fired]

    def _stop_unwanted(self) -> None:
        for job in self._state.to_stop():
            self._controls[job].cancel()
        needed = {name for name, _ in self._state.to_ask()}
        for name in self._asked.keys() - needed:
            self._asked[name].set()

    # -- afterwards ----------------------------------------------------------------------------

    def outcome(self) -> PipelineOutcome:
        """Return what became of it."""
        nodes = {node.name: node for node in self._ledger.outcomes(self._state)}
        failed = [nodes[name] for name in self._failed]
        verdict = self._state.verdict()
        return PipelineOutcome(
            id=self._id,
            name=self._plan.name,
            verdict=verdict,
            nodes=tuple(nodes.values()),
            edges=self._plan.graph.edges,
            error=_error(verdict, self._why, failed, self._plan),
        )


def _error(
    verdict: Verdict, why: Sequence[str], failed: Sequence[NodeOutcome], plan: PipelinePlan
) -> PipelineEndedError | None:
    """Say what ended a pipeline: a node that failed, in its own words, else an action or a no."""
    if verdict is Verdict.COMPLETE:
        return None
    node = next((node for node in failed if plan.nodes[node.name].ends_pipeline), None)
    if verdict is Verdict.FAILED and node is not None and node.error is not None:
        return PipelineEndedError(
            f"Node {node.name!r} failed: {node.error.message}",
            subject=node.error.subject,
            hint=node.error.hint,
            verdict=verdict,
        )
    what = f"Pipeline {plan.name!r} {'failed' if verdict is Verdict.FAILED else f'was {verdict}'}"
    return PipelineEndedError(what, subject=why[0] if why else "", verdict=verdict)
