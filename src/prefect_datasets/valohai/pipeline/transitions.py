"""What becomes of a pipeline's state when something happened; each returns a new state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from prefect_datasets.valohai.pipeline.actions import Then, When
from prefect_datasets.valohai.pipeline.graph import OnError
from prefect_datasets.valohai.pipeline.state import State
from prefect_datasets.valohai.pipeline.status import (
    Ending,
    Job,
    JobState,
    JobStatus,
    NodeState,
    OnChildError,
    Status,
)

MOST_ATTEMPTS = 3

_ENDINGS = {Then.STOP: Ending.STOPPED, Then.FAIL: Ending.FAILED}


def prepared(state: State, name: str, n_jobs: int, thens: Iterable[Then] = ()) -> State:
    """Take up a node's executions; `thens` is what its actions ask for at its start."""
    assert state.nodes[name].status is Status.WAITING
    assert n_jobs > 0
    wanted = tuple(thens)
    question = When.STARTING if Then.APPROVAL in wanted else None
    begun = NodeState(Status.RUNNING, (JobState(),) * n_jobs, question=question)
    return _obey(_put(state, name, begun), wanted)


def refused(state: State, name: str) -> State:
    """Let a node fail whose executions can't be planned with what it was handed."""
    assert state.nodes[name].status is Status.WAITING
    return _put(state, name, NodeState(Status.FAILED))


def started(state: State, job: Job) -> State:
    """Note that an execution has begun."""
    return _put_job(state, job, JobStatus.RUNNING)


def ended(state: State, job: Job, *, is_ok: bool, satisfies: bool = False) -> State:
    """Note that an execution has ended.

    Args:
        state: The state before.
        job: Which one.
        is_ok: Whether it succeeded.
        satisfies: Whether its task needs no more executions, if it did.
    """
    assert state.nodes[job.node].jobs[job.index] == JobState(JobStatus.RUNNING, job.attempt)
    after = _complete(state, job, satisfies=satisfies) if is_ok else _fail(state, job)
    return _settle(after, job.node)


def concluded(state: State, name: str, thens: Iterable[Then] = ()) -> State:
    """Let others go by what a node came to; `thens` is what its actions ask for."""
    node, wanted = state.nodes[name], tuple(thens)
    assert not node.is_concluded
    failed = node.status is Status.FAILED
    asked = When.ERROR if failed else When.COMPLETE
    question = asked if Then.APPROVAL in wanted else None
    after = _put(state, name, replace(node, is_concluded=True, question=question))
    after = _obey(after, wanted)
    if failed and state.rules[name].on_error in (OnError.STOP_ALL, OnError.RETRY):
        return _end(after, Ending.FAILED)
    return _skip_what_is_lost(after)


def answered(state: State, name: str, *, is_approved: bool) -> State:
    """Take a person's answer; without approval the pipeline is stopped."""
    node = state.nodes[name]
    if node.question is None:  # the pipeline has ended meanwhile
        return state
    if not is_approved:
        return _end(state, Ending.STOPPED)
    return _put(state, name, replace(node, question=None))


def cancelled(state: State) -> State:
    """End it because somebody wants it ended."""
    return _end(state, Ending.CANCELLED)


def _put(state: State, name: str, node: NodeState) -> State:
    return replace(state, nodes={**state.nodes, name: node})


def _put_job(state: State, job: Job, status: JobStatus) -> State:
    node = state.nodes[job.node]
    jobs = list(node.jobs)
    jobs[job.index] = JobState(status, job.attempt)
    return _put(state, job.node, replace(node, jobs=tuple(jobs)))


def _complete(state: State, job: Job, *, satisfies: bool) -> State:
    after = _put_job(state, job, JobStatus.COMPLETE)
    if not satisfies:
        return after
    return _put(after, job.node, replace(after.nodes[job.node], is_satisfied=True))


def _fail(state: State, job: Job) -> State:
    if state.ending is not None or state.is_unwanted(job.node):
        return _put_job(state, job, JobStatus.STOPPED)
    if state.rules[job.node].on_error is OnError.RETRY and job.attempt < MOST_ATTEMPTS:
        return _put_job(state, replace(job, attempt=job.attempt + 1), JobStatus.PENDING)
    return _put_job(state, job, JobStatus.FAILED)


def _settle(state: State, name: str) -> State:
    """Drop what is not wanted any more of a node; end it where nothing is left to do."""
    node = state.nodes[name]
    if state.ending is not None or state.is_unwanted(name):
        node = replace(node, jobs=_without_pending(node.jobs))
    if node.count(JobStatus.PENDING, JobStatus.RUNNING) == 0:
        node = replace(node, status=_result(state, name, node))
    return _put(state, name, node)


def _result(state: State, name: str, node: NodeState) -> Status:
    n_complete = node.count(JobStatus.COMPLETE)
    if node.is_satisfied or n_complete == len(node.jobs):
        return Status.COMPLETE
    if state.ending is not None:
        return Status.STOPPED
    forgives = state.rules[name].on_child_error is OnChildError.CONTINUE_AND_COMPLETE
    return Status.COMPLETE if forgives and n_complete else Status.FAILED


def _obey(state: State, thens: Sequence[Then]) -> State:
    endings = [_ENDINGS[then] for then in thens if then in _ENDINGS]
    return _end(state, max(endings)) if endings else state


def _end(state: State, ending: Ending) -> State:
    """Begin nothing any more; what runs is to be stopped."""
    after = replace(state, ending=max(ending, state.ending or ending))
    for name, node in state.nodes.items():
        quiet = replace(node, question=None)
        if _is_untouched(node):
            after = _put(after, name, replace(quiet, status=Status.SKIPPED))
        elif node.status is Status.RUNNING:
            after = _settle(_put(after, name, quiet), name)
        else:
            after = _put(after, name, quiet)
    return after


def _skip_what_is_lost(state: State) -> State:
    while lost := [name for name in state.nodes if state.is_lost(name)]:
        for name in lost:
            state = _put(state, name, NodeState(Status.SKIPPED))
    return state


def _without_pending(jobs: Sequence[JobState]) -> tuple[JobState, ...]:
    return tuple(
        replace(job, status=JobStatus.STOPPED) if job.status is JobStatus.PENDING else job
        for job in jobs
    )


def _is_untouched(node: NodeState) -> bool:
    """Tell whether nothing of a node has begun; its executions may be planned."""
    has_begun = any(job != JobState() for job in node.jobs)
    return node.status in (Status.WAITING, Status.RUNNING) and not has_begun
