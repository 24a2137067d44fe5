"""Pipelines as they run, from the first execution to the end."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.valohai.pipeline.host import Answer, Question, Work
from prefect_datasets.valohai.pipeline.status import Status, Verdict
from prefect_datasets.valohai.plan import Outcome
from tests.valohai.driven import CHAIN, ON_ERROR, run_pipeline, statuses, write_images, write_model
from tests.valohai.pipelines import ScriptedHost, bad, datum, ok, until_cancelled

pytestmark = pytest.mark.timeout(60)


def test_a_chain_hands_over_files_and_values(tmp_path: Path) -> None:
    host = ScriptedHost({"make": write_images, "train": write_model})
    outcome = run_pipeline(tmp_path, CHAIN, host)
    assert outcome.verdict is Verdict.COMPLETE
    assert outcome.error is None
    assert host.titles == ["make", "train", "report"]
    train = host.work("train").job.plan
    assert train.inputs[0].uris == (
        f"datum://{datum('make', 'cats/1.jpg')}",
        f"datum://{datum('make', 'dogs/2.jpg')}",
    )
    assert train.parameters["lr"] == 0.25
    report = host.work("report").job.plan
    assert report.inputs[0].uris == (f"datum://{datum('train', 'model.pkl')}",)


def test_executions_know_the_pipeline_they_belong_to(tmp_path: Path) -> None:
    host = ScriptedHost({"make": write_images, "train": write_model})
    run_pipeline(tmp_path, CHAIN, host)
    infos = [work.info.more for work in host.works]
    assert {info["pipeline-id"] for info in infos} == {"run"}
    assert {info["pipeline-title"] for info in infos} == {"main"}
    assert len({info["pipeline-node-id"] for info in infos}) == 3


def test_nodes_run_at_once_as_their_edges_allow(tmp_path: Path) -> None:
    text = """
    - pipeline:
        name: main
        nodes:
          - {name: a, type: execution, step: make}
          - {name: b, type: execution, step: make}
          - {name: c, type: execution, step: make}
        edges: [[b.dependency.*, c.dependency.*]]
    """
    together = threading.Barrier(2, timeout=30)

    def meet(work: Work) -> Outcome:
        together.wait()
        return ok(work)

    # `a` is still there when `c` comes, so `c` did not wait for it.
    def wait_for_both(work: Work) -> Outcome:
        together.wait()
        return meet(work)

    outcome = run_pipeline(tmp_path, text, ScriptedHost({"a": wait_for_both, "b": meet, "c": meet}))
    assert outcome.verdict is Verdict.COMPLETE


def test_no_more_run_at_once_than_there_is_room_for(tmp_path: Path) -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def count(work: Work) -> Outcome:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.01)
        with lock:
            running[0] -= 1
        return ok(work)

    text = """
    - pipeline:
        name: main
        parameters: [{name: sizes, target: a.parameter.size, default: [1, 2, 3, 4, 5, 6, 7]}]
        nodes: [{name: a, type: task, step: make}, {name: b, type: execution, step: make}]
        edges: []
    """
    host = ScriptedHost({"a": count, "b": count})
    outcome = run_pipeline(tmp_path, text, host, capacity=3)
    assert outcome.verdict is Verdict.COMPLETE
    assert len(host.works) == 8
    assert most[0] == 3
    assert [work.job.plan.parameters["size"] for work in host.works[:3]] == [1, 2, 3]


def test_an_interrupt_ends_everything_before_it_is_raised(tmp_path: Path) -> None:
    ended: list[str] = []

    def run(work: Work) -> Outcome:
        outcome = until_cancelled(work)
        ended.append(work.title)
        return outcome

    def interrupt(question: Question) -> Answer:
        raise KeyboardInterrupt

    text = """
    - pipeline:
        name: main
        nodes:
          - {name: a, type: execution, step: make}
          - {name: b, type: execution, step: make}
          - name: c
            type: execution
            step: make
            actions: [{when: node-complete, then: require-approval}]
        edges: []
    """
    host = ScriptedHost({"a": run, "b": run}, {"c": interrupt})
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(tmp_path, text, host)
    assert sorted(ended) == ["a", "b"]
    (shown,) = host.shown
    assert shown.verdict is Verdict.CANCELLED
    assert statuses(shown) == {"a": "stopped", "b": "stopped", "c": "complete"}


def test_a_host_that_can_not_begin_ends_everything(tmp_path: Path) -> None:
    class Full(ScriptedHost):
        def begin(self, work: Work, done: Any) -> None:
            if work.title == "beside":
                raise OSError("no more threads")
            super().begin(work, done)

    host = Full({"make": until_cancelled})
    with pytest.raises(OSError, match="no more threads"):
        run_pipeline(tmp_path, ON_ERROR.replace("ON}", "stop-all}"), host)
    assert host.works[0].control.is_cancelled


def test_a_fault_of_ours_is_raised_and_hangs_nothing(tmp_path: Path) -> None:
    class Broken(ScriptedHost):
        def note(self, message: str) -> None:
            if "complete" in message:
                raise RuntimeError("the log is broken")

    with pytest.raises(RuntimeError, match="the log is broken"):
        run_pipeline(tmp_path, CHAIN, Broken({"make": write_images}))


def test_every_node_is_accounted_for(tmp_path: Path) -> None:
    outcome = run_pipeline(tmp_path, CHAIN, ScriptedHost({"make": write_images, "train": bad}))
    assert [node.status for node in outcome.nodes] == [
        Status.COMPLETE,
        Status.FAILED,
        Status.SKIPPED,
    ]
    assert outcome.nodes[1].error is not None
    assert outcome.nodes[1].executions[0].outcome is not None
    assert outcome.nodes[2].executions == ()
