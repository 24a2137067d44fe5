"""Pipelines as they run, with executions that do what a test says."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.valohai.pipeline.drive import drive
from prefect_datasets.valohai.pipeline.host import Answer, Question, Work
from prefect_datasets.valohai.pipeline.outcome import PipelineOutcome
from prefect_datasets.valohai.pipeline.plan import plan_pipeline
from prefect_datasets.valohai.pipeline.status import JobStatus, Status, Verdict
from prefect_datasets.valohai.plan import Given, Outcome
from tests.valohai.pipelines import ScriptedHost, bad, config, datum, ok, until_cancelled

pytestmark = pytest.mark.timeout(60)


def _run(
    folder: Path, text: str, host: ScriptedHost, *, capacity: int = 4, **given: Any
) -> PipelineOutcome:
    loaded = config(folder, text)
    plan = plan_pipeline(loaded, loaded.names("pipeline")[0], Given(**given))
    outcome = drive(plan, host, capacity=capacity, run_id="run")
    assert outcome.id == "run"
    assert host.shown == [outcome]
    return outcome


def _statuses(outcome: PipelineOutcome) -> dict[str, str]:
    return {node.name: str(node.status) for node in outcome.nodes}


CHAIN = """
- pipeline:
    name: main
    nodes:
      - {name: make, type: execution, step: make}
      - {name: train, type: execution, step: train}
      - {name: report, type: execution, step: report}
    edges:
      - [make.outputs.*.jpg, train.inputs.images]
      - [make.metadata.best, train.parameter.lr]
      - [train.output.model*, report.input.models]
"""


def _images(work: Work) -> Outcome:
    return ok(work, "cats/1.jpg", "dogs/2.jpg", "log.txt", metadata={"best": 0.25})


def _model(work: Work) -> Outcome:
    return ok(work, "model.pkl", metadata={"accuracy": 0.9})


def test_a_chain_hands_over_files_and_values(tmp_path: Path) -> None:
    host = ScriptedHost({"make": _images, "train": _model})
    outcome = _run(tmp_path, CHAIN, host)
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
    host = ScriptedHost({"make": _images, "train": _model})
    _run(tmp_path, CHAIN, host)
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

    outcome = _run(tmp_path, text, ScriptedHost({"a": wait_for_both, "b": meet, "c": meet}))
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
    outcome = _run(tmp_path, text, host, capacity=3)
    assert outcome.verdict is Verdict.COMPLETE
    assert len(host.works) == 8
    assert most[0] == 3
    assert [work.job.plan.parameters["size"] for work in host.works[:3]] == [1, 2, 3]


# -- failures ------------------------------------------------------------------------------------

ON_ERROR = """
- pipeline:
    name: main
    nodes:
      - {name: make, type: execution, step: make, on-error: ON}
      - {name: train, type: execution, step: train}
      - {name: beside, type: execution, step: make}
    edges:
      - [make.output.*.jpg, train.input.images]
"""


def test_stop_all_stops_what_runs_and_tells_the_nodes_error_first(tmp_path: Path) -> None:
    began = threading.Event()

    def fail(work: Work) -> Outcome:
        assert began.wait(30)
        return bad(work, "No images were drawn")

    def beside(work: Work) -> Outcome:
        began.set()
        return until_cancelled(work)

    host = ScriptedHost({"make": fail, "beside": beside})
    outcome = _run(tmp_path, ON_ERROR.replace("ON}", "stop-all}"), host)
    assert outcome.verdict is Verdict.FAILED
    assert str(outcome.error) == "Node 'make' failed: No images were drawn: make. See its log."
    assert _statuses(outcome) == {"make": "failed", "train": "skipped", "beside": "stopped"}
    assert outcome.nodes[0].executions[0].status is JobStatus.FAILED


def test_stop_next_stops_what_follows_alone(tmp_path: Path) -> None:
    host = ScriptedHost({"make": bad})
    outcome = _run(tmp_path, ON_ERROR.replace("ON}", "stop-next}"), host)
    assert _statuses(outcome) == {"make": "failed", "train": "skipped", "beside": "complete"}
    assert outcome.verdict is Verdict.FAILED
    assert str(outcome.error).startswith("Node 'make' failed: The commands failed")


def test_continue_goes_on_with_what_there_is(tmp_path: Path) -> None:
    host = ScriptedHost({"make": lambda work: bad(work, "Half", "1.jpg")})
    outcome = _run(tmp_path, ON_ERROR.replace("ON}", "continue}"), host)
    assert _statuses(outcome) == {"make": "failed", "train": "complete", "beside": "complete"}
    assert outcome.verdict is Verdict.COMPLETE
    assert host.work("train").job.plan.inputs[0].uris == (f"datum://{datum('make', '1.jpg')}",)


def test_retry_tries_three_times(tmp_path: Path) -> None:
    tries: list[str] = []

    def third_time(work: Work) -> Outcome:
        tries.append(work.title)
        return _images(work) if len(tries) == 3 else bad(work)

    outcome = _run(tmp_path, ON_ERROR.replace("ON}", "retry}"), ScriptedHost({"make": third_time}))
    assert tries == ["make", "make (attempt 2)", "make (attempt 3)"]
    assert outcome.verdict is Verdict.COMPLETE
    assert outcome.nodes[0].executions[0].n_attempts == 3
    outcome = _run(tmp_path, ON_ERROR.replace("ON}", "retry}"), ScriptedHost({"make": bad}))
    assert outcome.verdict is Verdict.FAILED


def test_a_node_that_is_handed_what_does_not_fit_fails(tmp_path: Path) -> None:
    host = ScriptedHost({"make": lambda work: ok(work, "1.jpg", metadata={"best": "no number"})})
    outcome = _run(tmp_path, CHAIN, host)
    assert _statuses(outcome) == {"make": "complete", "train": "failed", "report": "skipped"}
    assert str(outcome.error).startswith("Node 'train' failed: Parameter 'lr' is not a number")
    host = ScriptedHost({"make": lambda work: ok(work, metadata={"best": 1})})
    outcome = _run(tmp_path, CHAIN, host)
    assert "'make' wrote nothing" in str(outcome.error)


# -- tasks ---------------------------------------------------------------------------------------

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


def _own_model(work: Work) -> Outcome:
    rate = work.job.plan.parameters["lr"]
    return bad(work) if rate == 2 else ok(work, f"model-{rate}", metadata={"rate": rate})


def _task(option: str) -> str:
    return TASK.replace("OPTIONS: 0", option)


def test_all_that_a_task_wrote_is_handed_on(tmp_path: Path) -> None:
    host = ScriptedHost({"train": lambda work: ok(work, work.title.replace("/", "-"))})
    outcome = _run(tmp_path, _task("description: x"), host)
    assert outcome.verdict is Verdict.COMPLETE
    assert len(host.work("report").job.plan.inputs[0].uris) == 3
    assert [each.title for each in outcome.nodes[0].executions] == ["train/1", "train/2", "train/3"]
    infos = [work.info for work in host.works[:3]]
    assert len({info.more["task-id"] for info in infos}) == 1
    assert [info.counter for info in infos] == [1, 2, 3]


def test_a_failed_execution_ends_its_task(tmp_path: Path) -> None:
    host = ScriptedHost({"train/1": until_cancelled, "train/2": bad, "train/3": until_cancelled})
    outcome = _run(tmp_path, _task("on-child-error: stop-all-and-error"), host)
    assert _statuses(outcome) == {"train": "failed", "report": "skipped"}
    statuses = [str(each.status) for each in outcome.nodes[0].executions]
    assert statuses == ["stopped", "failed", "stopped"]
    assert str(outcome.error).startswith("Node 'train' failed: The commands failed")


def test_or_only_makes_it_fail_once_all_have_run(tmp_path: Path) -> None:
    host = ScriptedHost({"train": _own_model})
    outcome = _run(tmp_path, _task("on-child-error: continue-and-error"), host, capacity=1)
    assert [str(each.status) for each in outcome.nodes[0].executions] == [
        "complete",
        "failed",
        "complete",
    ]
    assert outcome.verdict is Verdict.FAILED


def test_or_is_gone_on_from(tmp_path: Path) -> None:
    host = ScriptedHost({"train": _own_model})
    outcome = _run(tmp_path, _task("on-child-error: continue-and-complete"), host)
    assert outcome.verdict is Verdict.COMPLETE
    assert host.work("report").job.plan.inputs[0].uris == (
        f"datum://{datum('train/1', 'model-1')}",
        f"datum://{datum('train/3', 'model-3')}",
    )
    outcome = _run(
        tmp_path, _task("on-child-error: continue-and-complete"), ScriptedHost({"train": bad})
    )
    assert outcome.verdict is Verdict.FAILED


def test_a_task_ends_when_it_has_what_it_looked_for(tmp_path: Path) -> None:
    host = ScriptedHost({"train": _own_model})
    text = _task("stop-condition: metadata.rate == 1")
    outcome = _run(tmp_path, text, host, capacity=1)
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
    assert _run(tmp_path, text, host).verdict is Verdict.COMPLETE
    assert [work.job.plan.parameters.get("lr") for work in host.works[1:]] == [0.5, 0.7]
    assert host.titles == ["make", "train/1", "train/2"]


# -- actions -------------------------------------------------------------------------------------

ACTION = """
- pipeline:
    name: main
    nodes:
      - name: make
        type: execution
        step: make
        actions: [ACTION]
      - {name: train, type: execution, step: train}
    edges:
      - [make.output.*.jpg, train.input.images]
"""


def _action(when: str, condition: str, then: str) -> str:
    return ACTION.replace("ACTION]", f"{{when: {when}, if: '{condition}', then: {then}}}]")


def test_a_condition_stops_the_pipeline(tmp_path: Path) -> None:
    text = _action("node-complete", "metadata.best < 0.3", "stop-pipeline")
    outcome = _run(tmp_path, text, ScriptedHost({"make": _images}))
    assert outcome.verdict is Verdict.STOPPED
    assert _statuses(outcome) == {"make": "complete", "train": "skipped"}
    assert str(outcome.error) == (
        "Pipeline 'main' was stopped: make: stop-pipeline, because of node-complete and "
        "metadata.best < 0.3."
    )


def test_a_condition_fails_the_pipeline(tmp_path: Path) -> None:
    text = _action("node-complete", "metadata.best < 0.3", "[noop, error-pipeline]")
    outcome = _run(tmp_path, text, ScriptedHost({"make": _images}))
    assert outcome.verdict is Verdict.FAILED
    assert str(outcome.error).startswith("Pipeline 'main' failed: make: error-pipeline")


def test_a_condition_on_a_parameter_keeps_a_node_from_starting(tmp_path: Path) -> None:
    text = _action("node-starting", "parameter.size > 2", "stop-pipeline")
    host = ScriptedHost()
    assert _run(tmp_path, text, host).verdict is Verdict.STOPPED
    assert host.titles == []


def test_a_condition_that_does_not_hold_does_nothing(tmp_path: Path) -> None:
    text = _action("node-complete", "metadata.worst < 0.3", "stop-pipeline")
    host = ScriptedHost({"make": _images})
    assert _run(tmp_path, text, host).verdict is Verdict.COMPLETE
    assert any("does not hold" in note for note in host.notes)


def _say(is_approved: bool, comment: str = "") -> Any:
    return lambda question: Answer(is_approved, comment)


def test_a_person_approves_what_a_node_came_to(tmp_path: Path) -> None:
    text = _action("node-complete", "metadata.best < 0.3", "require-approval")
    host = ScriptedHost({"make": _images}, {"make": _say(is_approved=True, comment="fine")})
    assert _run(tmp_path, text, host).verdict is Verdict.COMPLETE
    (question,) = host.questions
    assert question.text == "Node 'make' is complete. Shall the pipeline go on?"
    assert question.facts == ("make: best = 0.25",)
    assert any(note.endswith("Approved: fine") for note in host.notes)


def test_or_does_not(tmp_path: Path) -> None:
    text = _action("node-starting", "", "require-approval").replace("if: '', ", "")
    host = ScriptedHost({}, {"make": _say(is_approved=False, comment="too late")})
    outcome = _run(tmp_path, text, host)
    assert host.titles == []
    assert outcome.verdict is Verdict.STOPPED
    assert str(outcome.error) == "Pipeline 'main' was stopped: make: not approved: too late."


def test_before_a_node_starts_people_see_what_came_before(tmp_path: Path) -> None:
    text = CHAIN.replace(
        "step: train}",
        "step: train, actions: [{when: node-starting, then: require-approval}]}",
    )
    host = ScriptedHost({"make": _images, "train": _model}, {"train": _say(is_approved=True)})
    assert _run(tmp_path, text, host).verdict is Verdict.COMPLETE
    assert host.questions[0].facts == ("make: best = 0.25",)


def test_a_failure_beside_it_takes_the_question_back(tmp_path: Path) -> None:
    text = """
    - pipeline:
        name: main
        nodes:
          - name: a
            type: execution
            step: make
            actions: [{when: node-complete, then: require-approval}]
          - {name: b, type: execution, step: make}
          - {name: c, type: execution, step: make}
        edges: []
    """
    asked = threading.Event()

    def fail_when_asked(work: Work) -> Outcome:
        assert asked.wait(30)
        return bad(work)

    def think(question: Question) -> Answer:
        asked.set()
        assert question.withdrawn.wait(30), "nobody took it back"
        return Answer(is_approved=True)

    host = ScriptedHost({"b": fail_when_asked, "c": until_cancelled}, {"a": think})
    outcome = _run(tmp_path, text, host)
    assert outcome.verdict is Verdict.FAILED
    assert _statuses(outcome) == {"a": "complete", "b": "failed", "c": "stopped"}


# -- the end -------------------------------------------------------------------------------------


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
        _run(tmp_path, text, host)
    assert sorted(ended) == ["a", "b"]
    (shown,) = host.shown
    assert shown.verdict is Verdict.CANCELLED
    assert _statuses(shown) == {"a": "stopped", "b": "stopped", "c": "complete"}


def test_a_host_that_can_not_begin_ends_everything(tmp_path: Path) -> None:
    class Full(ScriptedHost):
        def begin(self, work: Work, done: Any) -> None:
            if work.title == "beside":
                raise OSError("no more threads")
            super().begin(work, done)

    host = Full({"make": until_cancelled})
    with pytest.raises(OSError, match="no more threads"):
        _run(tmp_path, ON_ERROR.replace("ON}", "stop-all}"), host)
    assert host.works[0].control.is_cancelled


def test_a_fault_of_ours_is_raised_and_hangs_nothing(tmp_path: Path) -> None:
    class Broken(ScriptedHost):
        def note(self, message: str) -> None:
            if "complete" in message:
                raise RuntimeError("the log is broken")

    with pytest.raises(RuntimeError, match="the log is broken"):
        _run(tmp_path, CHAIN, Broken({"make": _images}))


def test_every_node_is_accounted_for(tmp_path: Path) -> None:
    outcome = _run(tmp_path, CHAIN, ScriptedHost({"make": _images, "train": bad}))
    assert [node.status for node in outcome.nodes] == [
        Status.COMPLETE,
        Status.FAILED,
        Status.SKIPPED,
    ]
    assert outcome.nodes[1].error is not None
    assert outcome.nodes[1].executions[0].outcome is not None
    assert outcome.nodes[2].executions == ()
