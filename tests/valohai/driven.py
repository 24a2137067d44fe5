"""A pipeline that is run, with executions that do what a test says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect_datasets.valohai.pipeline.drive import drive
from prefect_datasets.valohai.pipeline.host import Work
from prefect_datasets.valohai.pipeline.outcome import PipelineOutcome
from prefect_datasets.valohai.pipeline.plan import plan_pipeline
from prefect_datasets.valohai.plan import Given, Outcome
from tests.valohai.pipelines import ScriptedHost, config, ok


def run_pipeline(
    folder: Path, text: str, host: ScriptedHost, *, capacity: int = 4, **given: Any
) -> PipelineOutcome:
    loaded = config(folder, text)
    plan = plan_pipeline(loaded, loaded.names("pipeline")[0], Given(**given))
    outcome = drive(plan, host, capacity=capacity, run_id="run")
    assert outcome.id == "run"
    assert host.shown == [outcome]
    return outcome


def statuses(outcome: PipelineOutcome) -> dict[str, str]:
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


def write_images(work: Work) -> Outcome:
    return ok(work, "cats/1.jpg", "dogs/2.jpg", "log.txt", metadata={"best": 0.25})


def write_model(work: Work) -> Outcome:
    return ok(work, "model.pkl", metadata={"accuracy": 0.9})


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
