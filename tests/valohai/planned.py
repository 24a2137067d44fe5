"""Plans of pipelines, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.handover import Handed
from prefect_datasets.valohai.pipeline.jobs import JobPlan
from prefect_datasets.valohai.pipeline.plan import PipelinePlan, plan_pipeline
from prefect_datasets.valohai.plan import Given
from tests.valohai.pipelines import config


def plan_of(folder: Path, text: str, **given: Any) -> PipelinePlan:
    loaded = config(folder, text)
    return plan_pipeline(loaded, loaded.names("pipeline")[0], Given(**given))


def jobs_of(plan: PipelinePlan, node: str, **handed: Any) -> tuple[JobPlan, ...]:
    return plan.executions(node, Handed(**handed), seed="seed")


def refusal(folder: Path, text: str, **given: Any) -> str:
    with pytest.raises(InvalidInputError) as told:
        plan_of(folder, text, **given)
    return str(told.value)


PIPELINE = """
- pipeline:
    name: main
    nodes:
      - {name: make, type: execution, step: make}
      - {name: train, type: execution, step: train}
    edges:
      - [make.output.*.jpg, train.input.images]
"""

PARAMETERS = """
- pipeline:
    name: main
    parameters:
      - name: rate
        targets: [one.parameters.lr, two.parameter.lr]
        default: 0.3
      - name: tags
        target: one.parameter.tags
        default: [a, b]
      - name: none
        target: two.parameter.epochs
    nodes:
      - {name: one, type: execution, step: train}
      - {name: two, type: execution, step: train}
    edges: []
"""


TASK = """
- task:
    name: sweep
    step: train
    type: grid_search
    maximum-queued-executions: 2
    parameters:
      - {name: lr, style: multiple, rules: {items: [0.1, 0.2]}}
      - {name: epochs, style: linear, rules: {start: 1, end: 3, step: 1}}
- pipeline:
    name: main
    parameters:
      - {name: rates, target: train.parameter.lr}
    nodes:
      - {name: make, type: execution, step: make}
      - {name: train, type: task, task: sweep}
    edges:
      - [make.metadata.epochs, train.parameter.epochs]
"""
