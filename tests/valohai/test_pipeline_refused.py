"""Pipelines that are refused before anything runs, and what is warned about."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_datasets.core.errors import InvalidInputError
from tests.valohai.pipelines import config
from tests.valohai.planned import PIPELINE, TASK, plan_of, refusal


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "type: grid_search",
            "type: bayesian_tpe",
            "Task 'sweep' is of type bayesian_tpe, which is not supported",
        ),
        ("type: grid_search", "type: distributed", "of type distributed"),
        ("name: epochs, style: linear", "name: epoch, style: linear", "Did you mean 'epochs'?"),
        ("end: 3, step: 1", "end: 3, step: 0", "step of a linear parameter is 0"),
        ("items: [0.1, 0.2]", "items: [high, 0.2]", "Parameter 'lr' is not a number"),
        ("name: make, type: execution", "name: make, commit: abc, type: execution", "commit 'abc'"),
        ("train.parameter.epochs]", "train.parameter.epoch]", "no parameter 'epoch'"),
        ("train.parameter.epochs]", "train.input.images]", "No edge leads from a metadata"),
        ("target: train.parameter.lr", "target: train.parameter.rate", "no parameter 'rate'"),
        ("target: train.parameter.lr", "target: train.input.images", "socket type"),
        ("name: rates, target", "name: rates, targets: [], target", "target"),
        (
            "step: make}",
            "step: make, actions: [{when: node-complete, then: launch}]}",
            "'launch' is no 'then'",
        ),
        (
            "step: make}",
            "step: make, actions: [{when: node-complete, if: 'a <', then: noop}]}",
            "A condition is no expression",
        ),
    ],
)
def test_what_cannot_run_is_named_with_its_line(
    tmp_path: Path, before: str, after: str, told: str
) -> None:
    assert before in TASK
    message = refusal(tmp_path, TASK.replace(before, after))
    assert told in message
    assert "valohai.yaml:" in message or "\n  line " in message


def test_deployments_are_refused_by_name_and_everything_is_told_at_once(tmp_path: Path) -> None:
    text = """
    - endpoint:
        name: predict-digit
        image: python
        wsgi: predict:app
        files: [{name: model, path: model.pb}]
    - pipeline:
        name: main
        nodes:
          - {name: train, type: execution, step: train}
          - {name: deploy, type: deployment, deployment: live, endpoints: [predict-digit]}
          - {name: other, type: execution, step: train, commit: '1234'}
        edges:
          - [train.output.model, deploy.file.predict-digit.model]
          - [train.output.model, train.input.weights]
    """
    told = refusal(tmp_path, text)
    assert "node 'deploy' makes the deployment 'live', and nothing is deployed here" in told
    assert "node 'other' takes its step from commit '1234'" in told


def test_a_circle_and_an_unknown_node_are_named(tmp_path: Path) -> None:
    told = refusal(tmp_path, PIPELINE + "      - [train.output.x, make.dependency.x]\n")
    assert "the edges go in a circle" in told
    with pytest.raises(InvalidInputError, match="node other does not exist"):
        config(tmp_path, PIPELINE + "      - [train.output.x, other.input.x]\n")


def test_required_inputs_without_a_value_are_named_as_they_are_given(tmp_path: Path) -> None:
    text = """
    - pipeline:
        name: main
        nodes: [{name: report, type: execution, step: report}]
        edges: []
    """
    assert "Give it one with -i report.models=URI" in refusal(tmp_path, text)


def test_what_is_harmless_is_warned_about(tmp_path: Path) -> None:
    text = """
    - task:
        name: sweep
        step: train
        type: grid_search
        reuse-children: true
        parameters: [{name: lr, style: multiple, rules: {items: [1, 2]}}]
    - pipeline:
        name: main
        reuse-executions: true
        nodes:
          - name: make
            type: execution
            step: make
            actions:
              - {when: node-starting, if: metadata.x < 1, then: noop}
              - {when: node-complete, if: accuracy < 1, then: require-approval}
          - name: train
            type: task
            task: sweep
            actions: [{when: node-complete, if: metadata.a < 1, then: noop}]
        edges:
          - source: make.output.*
            target: train.input.images
            configuration: {hello: world}
    """
    warnings = "\n".join(plan_of(tmp_path, text).warnings)
    for told in (
        "reuse-executions is not supported",
        "has reuse-children",
        "the configuration of edge [make.output.*, train.input.images] is not used",
        "when it starts it has no metadata",
        "metadata of a task is what its last execution printed",
        "'accuracy' is neither metadata.NAME nor parameter.NAME",
    ):
        assert told in warnings
    assert "well-known" not in warnings
    assert all("valohai.yaml:" in line for line in warnings.splitlines())
