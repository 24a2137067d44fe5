"""Plans of tasks: the executions that a list, a grid or a search makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.handover import Handed
from prefect_datasets.valohai.pipeline.status import OnChildError
from tests.valohai.planned import PARAMETERS, TASK, jobs_of, plan_of, refusal


def test_a_task_tries_its_grid(tmp_path: Path) -> None:
    text = TASK.replace("- [make.metadata.epochs, train.parameter.epochs]", "[]")
    plan = plan_of(tmp_path, text.replace("edges:\n      []", "edges: []"))
    jobs = jobs_of(plan, "train")
    assert [job.title for job in jobs] == [f"train/{n}" for n in range(1, 7)]
    assert [tuple(job.tried.values()) for job in jobs[:4]] == [
        (0.1, 1),
        (0.1, 2),
        (0.1, 3),
        (0.2, 1),
    ]
    assert plan.nodes["train"].rules.most_at_once == 2


def test_lists_fan_out_and_single_values_fix_an_axis(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, TASK, parameters={"rates": ["0.5", "0.6", "0.7"]})
    jobs = jobs_of(plan, "train", parameters={"epochs": [4, 5]})
    assert [(j.plan.parameters["lr"], j.plan.parameters["epochs"]) for j in jobs] == [
        (0.5, 4),
        (0.5, 5),
        (0.6, 4),
        (0.6, 5),
        (0.7, 4),
        (0.7, 5),
    ]
    jobs = jobs_of(
        plan_of(tmp_path, TASK, parameters={"rates": "0.5"}), "train", parameters={"epochs": 4}
    )
    assert [(j.title, j.plan.parameters["lr"]) for j in jobs] == [("train", 0.5)]


def test_where_a_parameter_takes_several_a_list_is_one_value(tmp_path: Path) -> None:
    text = PARAMETERS.replace("name: one, type: execution", "name: one, type: task")
    plan = plan_of(tmp_path, text)
    assert [job.plan.parameters["tags"] for job in jobs_of(plan, "one")] == [["a", "b"]]
    plan = plan_of(tmp_path, text, parameters={"tags": [["a"], ["b", "c"]]})
    assert [job.plan.parameters["tags"] for job in jobs_of(plan, "one")] == [["a"], ["b", "c"]]


def test_a_list_in_a_task_nodes_override_fans_out(tmp_path: Path) -> None:
    text = """
    - pipeline:
        name: main
        nodes:
          - name: train
            type: task
            step: train
            override:
              parameters:
                - {name: lr, default: [0.1, 0.2]}
                - {name: epochs, default: 2}
        edges: []
    """
    jobs = jobs_of(plan_of(tmp_path, text), "train")
    assert [job.plan.parameters["lr"] for job in jobs] == [0.1, 0.2]
    assert [job.plan.parameters["epochs"] for job in jobs] == [2, 2]


def test_an_execution_does_not_fan_out(tmp_path: Path) -> None:
    told = refusal(tmp_path, PARAMETERS, parameters={"rate": ["0.1", "0.2"]})
    assert "node 'one': Parameter 'lr' takes one value, not 2" in told


def test_an_empty_list_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="empty list"):
        jobs_of(plan_of(tmp_path, TASK), "train", parameters={"epochs": []})


def test_sets_that_are_written_down_are_tried(tmp_path: Path) -> None:
    text = """
    - task:
        name: sets
        step: train
        type: manual_search
        parameter-sets:
          - {lr: 1, epochs: 2}
          - {lr: 3}
    - pipeline:
        name: main
        nodes: [{name: train, type: task, task: sets}]
        edges: []
    """
    jobs = jobs_of(plan_of(tmp_path, text), "train")
    assert [job.tried for job in jobs] == [{"lr": 1, "epochs": 2}, {"lr": 3}]
    assert [job.plan.parameters["epochs"] for job in jobs] == [2, 1]
    jobs = jobs_of(plan_of(tmp_path, text, parameters={"train.lr": "9"}), "train")
    assert [job.plan.parameters["lr"] for job in jobs] == [9.0, 9.0]
    told = refusal(tmp_path, text, parameters={"train.lr": ["8", "9"]})
    assert "A list can't fan out in a search whose sets are written down" in told


def test_random_searches_repeat_with_their_seed(tmp_path: Path) -> None:
    text = """
    - task:
        name: draws
        step: train
        type: random-search
        execution-count: 5
        parameters:
          - {name: lr, style: random, rules: {min: 0, max: 1}}
          - {name: epochs, style: random, rules: {min: 1, max: 100}}
    - pipeline:
        name: main
        nodes: [{name: train, type: task, task: draws}]
        edges: []
    """
    plan = plan_of(tmp_path, text)
    drawn = [job.tried for job in jobs_of(plan, "train")]
    assert len(drawn) == 5
    assert drawn == [job.tried for job in jobs_of(plan, "train")]
    assert drawn != [job.tried for job in plan.executions("train", Handed(), seed="other")]


@pytest.mark.parametrize(
    ("on_error", "on_child_error"),
    [
        ("stop-all", OnChildError.STOP_ALL_AND_ERROR),
        ("stop-next", OnChildError.CONTINUE_AND_ERROR),
        ("continue", OnChildError.CONTINUE_AND_COMPLETE),
        ("retry", OnChildError.STOP_ALL_AND_ERROR),
    ],
)
def test_a_nodes_on_error_says_what_a_failed_execution_means(
    tmp_path: Path, on_error: str, on_child_error: OnChildError
) -> None:
    text = TASK.replace("task: sweep}", f"task: sweep, on-error: {on_error}}}")
    assert plan_of(tmp_path, text).nodes["train"].rules.on_child_error is on_child_error
    text = text.replace(
        "type: grid_search", "type: grid_search\n    on-child-error: continue_and_error"
    )
    told = plan_of(tmp_path, text).nodes["train"].rules.on_child_error
    assert told is OnChildError.CONTINUE_AND_ERROR
