"""The state machine of a pipeline, against a model that knows what each node will come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from prefect_datasets.valohai.pipeline import transitions as after
from prefect_datasets.valohai.pipeline.actions import Then, When
from prefect_datasets.valohai.pipeline.graph import OnError
from prefect_datasets.valohai.pipeline.state import State
from prefect_datasets.valohai.pipeline.status import (
    Ending,
    Job,
    JobStatus,
    OnChildError,
    Rules,
    Status,
    Verdict,
)
from prefect_datasets.valohai.pipeline.transitions import MOST_ATTEMPTS

FINAL = {Status.COMPLETE, Status.FAILED, Status.STOPPED, Status.SKIPPED}


@dataclass(frozen=True)
class Fate:
    """What is to become of a node, whenever it comes to it."""

    rules: Rules
    n_failures: tuple[int, ...]  # of each execution, before it succeeds
    is_refused: bool
    at_start: tuple[Then, ...]
    at_end: tuple[Then, ...]
    satisfying: int | None  # execution that has what the task looks for
    is_approved: bool

    def is_ok(self, job: Job) -> bool:
        return job.attempt > self.n_failures[job.index]

    def n_attempts(self) -> int:
        return MOST_ATTEMPTS if self.rules.on_error is OnError.RETRY else 1

    def succeeds(self, index: int) -> bool:
        return self.n_failures[index] < self.n_attempts()

    def comes_to(self) -> set[Status]:
        """Return how it can end where nothing ends the pipeline: which, if the order matters."""
        if self.is_refused:
            return {Status.FAILED}
        good = [self.succeeds(index) for index in range(len(self.n_failures))]
        satisfies = self.satisfying is not None and good[self.satisfying]
        stops = self.rules.on_child_error is OnChildError.STOP_ALL_AND_ERROR
        forgives = self.rules.on_child_error is OnChildError.CONTINUE_AND_COMPLETE
        if all(good) or (satisfies and not stops) or (forgives and any(good)):
            return {Status.COMPLETE}
        return {Status.COMPLETE, Status.FAILED} if satisfies else {Status.FAILED}


_THENS = st.lists(st.sampled_from([Then.NOOP, Then.APPROVAL, Then.STOP, Then.FAIL]), max_size=2)
_RARELY = st.integers(0, 9).map(lambda n: n == 0)


@st.composite
def _fates(draw: st.DrawFn, index: int) -> Fate:
    after = frozenset(f"n{i}" for i in range(index) if draw(st.booleans()))
    n_failures = tuple(draw(st.lists(st.sampled_from([0, 0, 0, 1, 2, 9]), min_size=1, max_size=4)))
    return Fate(
        rules=Rules(
            after=after,
            on_error=draw(st.sampled_from([*OnError, OnError.CONTINUE, OnError.STOP_NEXT])),
            on_child_error=draw(st.sampled_from(OnChildError)),
            most_at_once=draw(st.integers(0, 2)),
        ),
        n_failures=n_failures,
        is_refused=draw(_RARELY),
        at_start=tuple(draw(_THENS)) if draw(_RARELY) else (),
        at_end=tuple(draw(_THENS)) if draw(_RARELY) else (),
        satisfying=draw(st.integers(0, len(n_failures) - 1)) if draw(_RARELY) else None,
        is_approved=draw(st.booleans()),
    )


@st.composite
def _pipelines(draw: st.DrawFn) -> dict[str, Fate]:
    # Edges lead to nodes that are earlier or later in the file.
    fates = [draw(_fates(index)) for index in range(draw(st.integers(1, 6)))]
    order = draw(st.permutations(range(len(fates))))
    return {f"n{index}": fates[index] for index in order}


class PipelineMachine(RuleBasedStateMachine):
    @initialize(fates=_pipelines(), capacity=st.integers(1, 3))
    def begin(self, fates: dict[str, Fate], capacity: int) -> None:
        self.fates, self.capacity = fates, capacity
        self.state = State.begin(
            {name: fate.rules for name, fate in fates.items()}, capacity=capacity
        )
        self.running: set[Job] = set()
        self.attempts: set[Job] = set()
        self.concluded: dict[str, Status] = {}
        self.open: set[str] = set()  # nodes with a question
        self.was: dict[str, Status] = {}
        self.worst: int = 0
        self.is_cancelled = False

    # -- what may be done ----------------------------------------------------------------------

    @precondition(lambda self: self.state.to_prepare())
    @rule(data=st.data())
    def prepare(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.state.to_prepare()))
        fate = self.fates[name]
        assert not self.open
        assert self.worst == 0
        for source in fate.rules.after:
            came_to = self.concluded[source]
            goes_on = self.fates[source].rules.on_error is OnError.CONTINUE
            assert came_to is Status.COMPLETE or (came_to is Status.FAILED and goes_on)
        if fate.is_refused:
            self.state = after.refused(self.state, name)
            return
        self.state = after.prepared(self.state, name, len(fate.n_failures), fate.at_start)
        self._heed(name, fate.at_start)

    @precondition(lambda self: self.state.to_run())
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        offered = self.state.to_run()
        assert len(self.running) + len(offered) <= self.capacity
        job = data.draw(st.sampled_from(offered))
        assert job not in self.attempts, "begun twice"
        assert job.attempt <= self.fates[job.node].n_attempts()
        assert not self.open
        assert self.worst == 0
        self.attempts.add(job)
        self.running.add(job)
        most = self.fates[job.node].rules.most_at_once
        assert not most or sum(each.node == job.node for each in self.running) <= most
        self.state = after.started(self.state, job)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.running, key=repr)))
        is_ok = self.fates[job.node].is_ok(job)
        if job in self.state.to_stop():
            is_ok = is_ok and data.draw(st.booleans())  # whether it was killed before its end
        self._end(job, is_ok=is_ok)

    @precondition(lambda self: self.state.to_conclude())
    @rule(data=st.data())
    def conclude(self, data: st.DataObject) -> None:
        self._conclude(data.draw(st.sampled_from(self.state.to_conclude())))

    @precondition(lambda self: self.state.to_ask())
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        name, when = data.draw(st.sampled_from(self.state.to_ask()))
        assert name in self.open
        assert (when is When.STARTING) == (name not in self.concluded)
        self._answer(name)

    @rule(really=st.integers(0, 30))
    def cancel(self, really: int) -> None:
        if really == 30:
            self.state = after.cancelled(self.state)
            self.is_cancelled = True
            self._ends(Ending.CANCELLED)

    # -- what always holds ---------------------------------------------------------------------

    @invariant()
    def the_running_are_those_begun(self) -> None:
        running = {
            Job(name, index, job.attempt)
            for name, node in self.state.nodes.items()
            for index, job in enumerate(node.jobs)
            if job.status is JobStatus.RUNNING
        }
        assert running == self.running

    @invariant()
    def what_is_final_stays(self) -> None:
        for name, was in self.was.items():
            assert self.state.nodes[name].status is was
        self.was = {n: s.status for n, s in self.state.nodes.items() if s.status in FINAL}

    @invariant()
    def the_ending_is_the_worst_one(self) -> None:
        assert (self.state.ending or 0) == self.worst

    @invariant()
    def something_can_be_done_until_it_is_over(self) -> None:
        state = self.state
        can = state.to_prepare() or state.to_run() or state.to_ask() or state.to_conclude()
        assert bool(can or self.running) is not state.is_over

    @invariant()
    def when_it_ends_all_that_runs_is_to_be_stopped(self) -> None:
        if self.worst:
            assert set(self.state.to_stop()) == self.running
        assert set(self.state.to_stop()) <= self.running

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        self._go_on()
        for invariant_holds in (self.what_is_final_stays, self.the_ending_is_the_worst_one):
            invariant_holds()
        assert self.state.is_over
        assert not self.running
        assert all(node.status in FINAL for node in self.state.nodes.values())
        self._compare_with_the_fates()

    # -- the model -----------------------------------------------------------------------------

    def _go_on(self) -> None:
        for _ in range(1_000):
            state = self.state
            if state.is_over:
                return
            if names := state.to_prepare():
                fate = self.fates[names[0]]
                if fate.is_refused:
                    self.state = after.refused(state, names[0])
                else:
                    self.state = after.prepared(
                        state, names[0], len(fate.n_failures), fate.at_start
                    )
                    self._heed(names[0], fate.at_start)
            elif jobs := state.to_run():
                self.running.add(jobs[-1])
                self.state = after.started(state, jobs[-1])
            elif names := state.to_conclude():
                self._conclude(names[-1])
            elif asked := state.to_ask():
                self._answer(asked[0][0])
            else:
                job = min(self.running, key=repr)
                is_ok = job not in state.to_stop() and self.fates[job.node].is_ok(job)
                self._end(job, is_ok=is_ok)
        raise AssertionError("it goes on for ever")

    def _end(self, job: Job, *, is_ok: bool) -> None:
        satisfies = self.fates[job.node].satisfying == job.index
        self.running.discard(job)
        self.state = after.ended(self.state, job, is_ok=is_ok, satisfies=satisfies)

    def _conclude(self, name: str) -> None:
        status = self.state.nodes[name].status
        fate = self.fates[name]
        self.concluded[name] = status
        self.state = after.concluded(self.state, name, fate.at_end)
        self._heed(name, fate.at_end)
        if status is Status.FAILED and fate.rules.on_error in (OnError.STOP_ALL, OnError.RETRY):
            self._ends(Ending.FAILED)

    def _answer(self, name: str) -> None:
        is_approved = self.fates[name].is_approved
        self.open.discard(name)
        self.state = after.answered(self.state, name, is_approved=is_approved)
        if not is_approved:
            self._ends(Ending.STOPPED)

    def _heed(self, name: str, thens: tuple[Then, ...]) -> None:
        if Then.APPROVAL in thens:
            self.open.add(name)
        if Then.STOP in thens:
            self._ends(Ending.STOPPED)
        if Then.FAIL in thens:
            self._ends(Ending.FAILED)

    def _ends(self, ending: Ending) -> None:
        self.worst = max(self.worst, ending)
        self.open.clear()

    def _compare_with_the_fates(self) -> None:
        status = {name: node.status for name, node in self.state.nodes.items()}
        if self.worst:
            assert self.state.verdict() is Verdict[Ending(self.worst).name]
            return
        for name, fate in self.fates.items():
            blocked = any(
                status[source] is Status.SKIPPED
                or (
                    status[source] is Status.FAILED
                    and self.fates[source].rules.on_error is not OnError.CONTINUE
                )
                for source in fate.rules.after
            )
            assert status[name] in ({Status.SKIPPED} if blocked else fate.comes_to())
        undone = any(
            status[name] is Status.FAILED and fate.rules.on_error is OnError.STOP_NEXT
            for name, fate in self.fates.items()
        )
        assert self.state.verdict() is (Verdict.FAILED if undone else Verdict.COMPLETE)


PipelineMachine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestPipeline: Any = PipelineMachine.TestCase


def _begin(**rules: Rules) -> State:
    return State.begin(rules, capacity=4)


def _running(state: State, *jobs: Job) -> State:
    state = after.prepared(state, jobs[0].node, len(jobs))
    for job in jobs:
        state = after.started(state, job)
    return state


def test_a_stopped_task_is_stopped_and_not_failed() -> None:
    jobs = Job("a", 0), Job("a", 1)
    state = after.cancelled(_running(_begin(a=Rules()), *jobs))
    assert state.to_stop() == jobs
    assert not state.to_run()
    state = after.ended(state, jobs[0], is_ok=True)
    state = after.ended(state, jobs[1], is_ok=False)
    assert state.nodes["a"].status is Status.STOPPED
    assert state.is_over
    assert state.verdict() is Verdict.CANCELLED


def test_what_follows_waits_for_approval_of_what_came_before() -> None:
    state = _running(_begin(a=Rules(), b=Rules(after=frozenset("a")), c=Rules()), Job("a", 0))
    state = after.ended(state, Job("a", 0), is_ok=True)
    state = after.concluded(state, "a", [Then.APPROVAL])
    assert state.to_ask() == (("a", When.COMPLETE),)
    assert state.to_prepare() == (), "the pipeline pauses, not the one node"
    assert after.answered(state, "a", is_approved=True).to_prepare() == ("b", "c")
    rejected = after.answered(state, "a", is_approved=False)
    assert rejected.is_over
    assert rejected.verdict() is Verdict.STOPPED
    assert rejected.nodes["b"].status is Status.SKIPPED


def test_a_failed_execution_is_tried_three_times() -> None:
    state = after.prepared(_begin(a=Rules(on_error=OnError.RETRY)), "a", 1)
    for attempt in (1, 2, 3):
        (job,) = state.to_run()
        assert job == Job("a", 0, attempt)
        state = after.ended(after.started(state, job), job, is_ok=False)
    assert state.nodes["a"].status is Status.FAILED
    assert after.concluded(state, "a").verdict() is Verdict.FAILED


def test_a_task_that_found_what_it_looked_for_needs_no_more() -> None:
    jobs = Job("a", 0), Job("a", 1), Job("a", 2)
    state = after.ended(_running(_begin(a=Rules()), *jobs), jobs[1], is_ok=True, satisfies=True)
    assert state.to_stop() == (jobs[0], jobs[2])
    state = after.ended(state, jobs[0], is_ok=False)
    state = after.ended(state, jobs[2], is_ok=False)
    assert state.nodes["a"].status is Status.COMPLETE
