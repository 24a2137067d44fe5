"""Actions of a running pipeline: conditions that end it, and questions to people."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.valohai.pipeline.host import Answer, Question, Work
from prefect_datasets.valohai.pipeline.status import Verdict
from prefect_datasets.valohai.plan import Outcome
from tests.valohai.driven import CHAIN, run_pipeline, statuses, write_images, write_model
from tests.valohai.pipelines import ScriptedHost, bad, until_cancelled

pytestmark = pytest.mark.timeout(60)


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


def action(when: str, condition: str, then: str) -> str:
    return ACTION.replace("ACTION]", f"{{when: {when}, if: '{condition}', then: {then}}}]")


def test_a_condition_stops_the_pipeline(tmp_path: Path) -> None:
    text = action("node-complete", "metadata.best < 0.3", "stop-pipeline")
    outcome = run_pipeline(tmp_path, text, ScriptedHost({"make": write_images}))
    assert outcome.verdict is Verdict.STOPPED
    assert statuses(outcome) == {"make": "complete", "train": "skipped"}
    assert str(outcome.error) == (
        "Pipeline 'main' was stopped: make: stop-pipeline, because of node-complete and "
        "metadata.best < 0.3."
    )


def test_a_condition_fails_the_pipeline(tmp_path: Path) -> None:
    text = action("node-complete", "metadata.best < 0.3", "[noop, error-pipeline]")
    outcome = run_pipeline(tmp_path, text, ScriptedHost({"make": write_images}))
    assert outcome.verdict is Verdict.FAILED
    assert str(outcome.error).startswith("Pipeline 'main' failed: make: error-pipeline")


def test_a_condition_on_a_parameter_keeps_a_node_from_starting(tmp_path: Path) -> None:
    text = action("node-starting", "parameter.size > 2", "stop-pipeline")
    host = ScriptedHost()
    assert run_pipeline(tmp_path, text, host).verdict is Verdict.STOPPED
    assert host.titles == []


def test_a_condition_that_does_not_hold_does_nothing(tmp_path: Path) -> None:
    text = action("node-complete", "metadata.worst < 0.3", "stop-pipeline")
    host = ScriptedHost({"make": write_images})
    assert run_pipeline(tmp_path, text, host).verdict is Verdict.COMPLETE
    assert any("does not hold" in note for note in host.notes)


def say(is_approved: bool, comment: str = "") -> Any:
    return lambda question: Answer(is_approved, comment)


def test_a_person_approves_what_a_node_came_to(tmp_path: Path) -> None:
    text = action("node-complete", "metadata.best < 0.3", "require-approval")
    host = ScriptedHost({"make": write_images}, {"make": say(is_approved=True, comment="fine")})
    assert run_pipeline(tmp_path, text, host).verdict is Verdict.COMPLETE
    (question,) = host.questions
    assert question.text == "Node 'make' is complete. Shall the pipeline go on?"
    assert question.facts == ("make: best = 0.25",)
    assert any(note.endswith("Approved: fine") for note in host.notes)


def test_or_does_not(tmp_path: Path) -> None:
    text = action("node-starting", "", "require-approval").replace("if: '', ", "")
    host = ScriptedHost({}, {"make": say(is_approved=False, comment="too late")})
    outcome = run_pipeline(tmp_path, text, host)
    assert host.titles == []
    assert outcome.verdict is Verdict.STOPPED
    assert str(outcome.error) == "Pipeline 'main' was stopped: make: not approved: too late."


def test_before_a_node_starts_people_see_what_came_before(tmp_path: Path) -> None:
    text = CHAIN.replace(
        "step: train}",
        "step: train, actions: [{when: node-starting, then: require-approval}]}",
    )
    host = ScriptedHost(
        {"make": write_images, "train": write_model}, {"train": say(is_approved=True)}
    )
    assert run_pipeline(tmp_path, text, host).verdict is Verdict.COMPLETE
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
    outcome = run_pipeline(tmp_path, text, host)
    assert outcome.verdict is Verdict.FAILED
    assert statuses(outcome) == {"a": "complete", "b": "failed", "c": "stopped"}
