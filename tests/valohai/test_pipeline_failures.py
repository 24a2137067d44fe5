"""What a failed execution means for its node, its task and the pipeline."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from prefect_datasets.valohai.pipeline.host import Work
from prefect_datasets.valohai.pipeline.status import JobStatus, Verdict
from prefect_datasets.valohai.plan import Outcome
from tests.valohai.driven import CHAIN, ON_ERROR, run_pipeline, statuses, write_images
from tests.valohai.pipelines import ScriptedHost, bad, datum, ok, until_cancelled

pytestmark = pytest.mark.timeout(60)


def test_stop_all_stops_what_runs_and_tells_the_nodes_error_first(tmp_path: Path) -> None:
    began = threading.Event()

    def fail(work: Work) -> Outcome:
        assert began.wait(30)
        return bad(work, "No images were drawn")

    def beside(work: Work) -> Outcome:
        began.set()
        return until_cancelled(work)

    host = ScriptedHost({"make": fail, "beside": beside})
    outcome = run_pipeline(tmp_path, ON_ERROR.replace("ON}", "stop-all}"), host)
    assert outcome.verdict is Verdict.FAILED
    assert str(outcome.error) == "Node 'make' failed: No images were drawn: make. See its log."
    assert statuses(outcome) == {"make": "failed", "train": "skipped", "beside": "stopped"}
    assert outcome.nodes[0].executions[0].status is JobStatus.FAILED


def test_stop_next_stops_what_follows_alone(tmp_path: Path) -> None:
    host = ScriptedHost({"make": bad})
    outcome = run_pipeline(tmp_path, ON_ERROR.replace("ON}", "stop-next}"), host)
    assert statuses(outcome) == {"make": "failed", "train": "skipped", "beside": "complete"}
    assert outcome.verdict is Verdict.FAILED
    assert str(outcome.error).startswith("Node 'make' failed: The commands failed")


def test_continue_goes_on_with_what_there_is(tmp_path: Path) -> None:
    host = ScriptedHost({"make": lambda work: bad(work, "Half", "1.jpg")})
    outcome = run_pipeline(tmp_path, ON_ERROR.replace("ON}", "continue}"), host)
    assert statuses(outcome) == {"make": "failed", "train": "complete", "beside": "complete"}
    assert outcome.verdict is Verdict.COMPLETE
    assert host.work("train").job.plan.inputs[0].uris == (f"datum://{datum('make', '1.jpg')}",)


def test_retry_tries_three_times(tmp_path: Path) -> None:
    tries: list[str] = []

    def third_time(work: Work) -> Outcome:
        tries.append(work.title)
        return write_images(work) if len(tries) == 3 else bad(work)

    outcome = run_pipeline(
        tmp_path, ON_ERROR.replace("ON}", "retry}"), ScriptedHost({"make": third_time})
    )
    assert tries == ["make", "make (attempt 2)", "make (attempt 3)"]
    assert outcome.verdict is Verdict.COMPLETE
    assert outcome.nodes[0].executions[0].n_attempts == 3
    outcome = run_pipeline(tmp_path, ON_ERROR.replace("ON}", "retry}"), ScriptedHost({"make": bad}))
    assert outcome.verdict is Verdict.FAILED


def test_a_node_that_is_handed_what_does_not_fit_fails(tmp_path: Path) -> None:
    host = ScriptedHost({"make": lambda work: ok(work, "1.jpg", metadata={"best": "no number"})})
    outcome = run_pipeline(tmp_path, CHAIN, host)
    assert statuses(outcome) == {"make": "complete", "train": "failed", "report": "skipped"}
    assert str(outcome.error).startswith("Node 'train' failed: Parameter 'lr' is not a number")
    host = ScriptedHost({"make": lambda work: ok(work, metadata={"best": 1})})
    outcome = run_pipeline(tmp_path, CHAIN, host)
    assert "'make' wrote nothing" in str(outcome.error)


TASK = """
- task:
    name: sweep
    step: train
    type: grid_search
    OPTIONS: 0
    parameters: [{name: lr, style: multiple, rules: {items: [1, 2, 3]}}]
- pipeline:
    name: main
    nodes:
      - {name: train, type: task, task: sweep}
      - {name: report, type: execution, step: report}
    edges:
      - [train.output.*, report.input.models]
"""


def write_own_model(work: Work) -> Outcome:
    rate = work.job.plan.parameters["lr"]
    return bad(work) if rate == 2 else ok(work, f"model-{rate}", metadata={"rate": rate})


def task_with(option: str) -> str:
    return TASK.replace("OPTIONS: 0", option)


def test_all_that_a_task_wrote_is_handed_on(tmp_path: Path) -> None:
    host = ScriptedHost({"train": lambda work: ok(work, work.title.replace("/", "-"))})
    outcome = run_pipeline(tmp_path, task_with("description: x"), host)
    assert outcome.verdict is Verdict.COMPLETE
    assert len(host.work("report").job.plan.inputs[0].uris) == 3
    assert [each.title for each in outcome.nodes[0].executions] == ["train/1", "train/2", "train/3"]
    infos = [work.info for work in host.works[:3]]
    assert len({info.more["task-id"] for info in infos}) == 1
    assert [info.counter for info in infos] == [1, 2, 3]


def test_a_failed_execution_ends_its_task(tmp_path: Path) -> None:
    host = ScriptedHost({"train/1": until_cancelled, "train/2": bad, "train/3": until_cancelled})
    outcome = run_pipeline(tmp_path, task_with("on-child-error: stop-all-and-error"), host)
    assert statuses(outcome) == {"train": "failed", "report": "skipped"}
    executions = [str(each.status) for each in outcome.nodes[0].executions]
    assert executions == ["stopped", "failed", "stopped"]
    assert str(outcome.error).startswith("Node 'train' failed: The commands failed")


def test_or_only_makes_it_fail_once_all_have_run(tmp_path: Path) -> None:
    host = ScriptedHost({"train": write_own_model})
    outcome = run_pipeline(
        tmp_path, task_with("on-child-error: continue-and-error"), host, capacity=1
    )
    assert [str(each.status) for each in outcome.nodes[0].executions] == [
        "complete",
        "failed",
        "complete",
    ]
    assert outcome.verdict is Verdict.FAILED


def test_or_is_gone_on_from(tmp_path: Path) -> None:
    host = ScriptedHost({"train": write_own_model})
    outcome = run_pipeline(tmp_path, task_with("on-child-error: continue-and-complete"), host)
    assert outcome.verdict is Verdict.COMPLETE
    assert host.work("report").job.plan.inputs[0].uris == (
        f"datum://{datum('train/1', 'model-1')}",
        f"datum://{datum('train/3', 'model-3')}",
    )
    outcome = run_pipeline(
        tmp_path, task_with("on-child-error: continue-and-complete"), ScriptedHost({"train": bad})
    )
    assert outcome.verdict is Verdict.FAILED


def test_a_task_ends_when_it_has_what_it_looked_for(tmp_path: Path) -> None:
    host = ScriptedHost({"train": write_own_model})
    text = task_with("stop-condition: metadata.rate == 1")
    outcome = run_pipeline(tmp_path, text, host, capacity=1)
    assert host.titles == ["train/1", "report"]
    assert [str(each.status) for each in outcome.nodes[0].executions] == [
        "complete",
        "stopped",
        "stopped",
    ]
    assert outcome.verdict is Verdict.COMPLETE


def test_a_printed_list_fans_out(tmp_path: Path) -> None:
    text = """
    - pipeline:
        name: main
        nodes:
          - {name: make, type: execution, step: make}
          - {name: train, type: task, step: train}
        edges: [[make.metadata.rates, train.parameter.lr]]
    """
    host = ScriptedHost({"make": lambda work: ok(work, metadata={"rates": [0.5, 0.7]})})
    assert run_pipeline(tmp_path, text, host).verdict is Verdict.COMPLETE
    assert [work.job.plan.parameters.get("lr") for work in host.works[1:]] == [0.5, 0.7]
    assert host.titles == ["make", "train/1", "train/2"]
