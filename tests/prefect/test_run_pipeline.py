"""Pipelines as flow runs: what a person sees, and a pause that somebody resumes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.flow_runs import resume_flow_run
from prefect.utilities.callables import parameter_schema

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.flows.run_pipeline import PipelineOptions, run_pipeline
from prefect_datasets.valohai.pipeline.outcome import PipelineEndedError, PipelineOutcome
from tests.prefect.observe import artifacts, eventually, logs, task_runs
from tests.valohai.files import write

FILE = """
    - step:
        name: make
        image: any
        command:
          - echo one > /valohai/outputs/one.txt
          - 'echo ''{"best": 0.5}'''
    - step:
        name: use
        image: any
        command:
          - cat /valohai/inputs/files/* > /valohai/outputs/all-{parameter-value:n}.txt
        parameters: [{name: n, type: integer, default: 1}]
        inputs: [{name: files}]
    - step: {name: fail, image: any, command: exit 3}
    - pipeline:
        name: good
        parameters: [{name: n, target: use.parameter.n, default: [1, 2]}]
        nodes:
          - {name: make, type: execution, step: make}
          - {name: use, type: task, step: use}
        edges: [[make.output.*, use.input.files]]
    - pipeline:
        name: bad
        nodes:
          - {name: make, type: execution, step: make}
          - {name: fail, type: execution, step: fail}
        edges: [[make.dependency.*, fail.dependency.*]]
    - pipeline:
        name: asked
        nodes:
          - name: make
            type: execution
            step: make
            actions: [{when: node-complete, then: require-approval}]
          - {name: use, type: execution, step: use}
        edges: [[make.output.*, use.input.files]]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(write(tmp_path, FILE))


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(url=str(tmp_path / "store"))


def _newest(pipeline: str) -> Any:
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[pipeline])),
            sort=FlowRunSort.START_TIME_DESC,
            limit=1,
        )
    return runs[0] if runs else None


def test_nodes_are_task_runs_of_their_names(file: str, store: DatasetStore) -> None:
    state = run_pipeline(store, "good", file, options=PipelineOptions(at_once=2), return_state=True)
    outcome = state.result()
    assert isinstance(outcome, PipelineOutcome)
    assert outcome.error is None
    run = _newest("good")
    names = eventually(lambda: {each.name for each in task_runs(run.id)} >= {"make", "use/1"})
    assert names
    pictures = eventually(lambda: [text for text in _markdowns(run.id) if "flowchart LR" in text])
    assert "one.txt" not in pictures[0]
    assert ":::complete" in pictures[0]


def _markdowns(flow_run_id: Any) -> list[str]:
    return [str(each.data) for each in artifacts(flow_run_id) if each.type == "markdown"]


def test_a_failed_nodes_error_is_the_runs(file: str, store: DatasetStore) -> None:
    with pytest.raises(PipelineEndedError, match="Node 'fail' failed"):
        run_pipeline(store, "bad", file)
    run = _newest("bad")
    assert run.state.type is StateType.FAILED
    states = eventually(
        lambda: {
            each.name: each.state.type
            for each in task_runs(run.id)
            if each.state and each.state.is_final()
        }
    )
    assert states["fail"] is StateType.FAILED


def test_it_can_be_deployed_and_has_a_form() -> None:
    shipped = cloudpickle.loads(cloudpickle.dumps(run_pipeline))
    schema = parameter_schema(shipped.fn)
    assert schema.required == ["store", "pipeline"]
    assert "requires approval" in (run_pipeline.description or "")


def test_what_cannot_run_begins_no_task(file: str, store: DatasetStore) -> None:
    with pytest.raises(InvalidInputError, match="no node 'usee'"):
        run_pipeline(store, "good", file, parameters={"usee.n": 1})


@pytest.mark.parametrize("is_approved", [True, False])
def test_a_pause_is_resumed_by_a_person(file: str, store: DatasetStore, is_approved: bool) -> None:
    before = _newest("asked")

    def answer() -> None:
        def paused() -> Any:
            run = _newest("asked")
            is_new = before is None or (run and run.id != before.id)
            return run if run and is_new and run.state.is_paused() else None

        run = eventually(paused, seconds=60)
        resume_flow_run(run.id, run_input={"approved": is_approved, "comment": "seen"})

    person = threading.Thread(target=answer, daemon=True)
    person.start()
    state = run_pipeline(store, "asked", file, return_state=True)
    person.join(30)
    if is_approved:
        assert state.is_completed()
    else:
        assert state.name == "Stopped"
        assert state.is_cancelled()
        assert "not approved: seen" in str(state.message)
    run = _newest("asked")
    assert eventually(lambda: [line for line in logs(run.id) if "pproved: seen" in line])
