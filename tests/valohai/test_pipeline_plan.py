"""Plans of pipelines: what runs with what, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.handover import Handed
from prefect_datasets.valohai.pipeline.jobs import JobPlan
from prefect_datasets.valohai.pipeline.plan import PipelinePlan, plan_pipeline
from prefect_datasets.valohai.pipeline.status import OnChildError
from prefect_datasets.valohai.plan import Given
from tests.valohai.pipelines import STEPS, config


def _plan(folder: Path, text: str, **given: Any) -> PipelinePlan:
    loaded = config(folder, text)
    return plan_pipeline(loaded, loaded.names("pipeline")[0], Given(**given))


def _jobs(plan: PipelinePlan, node: str, **handed: Any) -> tuple[JobPlan, ...]:
    return plan.executions(node, Handed(**handed), seed="seed")


def _refusal(folder: Path, text: str, **given: Any) -> str:
    with pytest.raises(InvalidInputError) as told:
        _plan(folder, text, **given)
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


def test_a_pipeline_is_planned_in_the_order_of_the_file(tmp_path: Path) -> None:
    plan = _plan(tmp_path, PIPELINE)
    assert list(plan.nodes) == ["make", "train"]
    assert plan.nodes["train"].rules.after == {"make"}
    assert plan.warnings == ()


def test_what_edges_bring_replaces_the_defaults(tmp_path: Path) -> None:
    plan = _plan(tmp_path, PIPELINE)
    (job,) = _jobs(plan, "train", inputs={"images": ("datum://a", "datum://b")})
    assert job.title == "train"
    assert job.plan.inputs[0].uris == ("datum://a", "datum://b")
    assert job.plan.inputs[1].uris == ()


def test_or_comes_after_them(tmp_path: Path) -> None:
    text = PIPELINE.replace("step: train}", "step: train, edge-merge-mode: append}")
    (job,) = _jobs(_plan(tmp_path, text), "train", inputs={"images": ("datum://a",)})
    assert job.plan.inputs[0].uris == ("dataset://images/v1", "datum://a")
    (job,) = _jobs(_plan(tmp_path, text), "train", inputs={"images": ()})
    assert job.plan.inputs[0].uris == ("dataset://images/v1",)
    plan = _plan(tmp_path, text, inputs={"train.images": ["dataset://other/v1"]})
    (job,) = _jobs(plan, "train", inputs={"images": ("datum://a",)})
    assert job.plan.inputs[0].uris == ("dataset://other/v1", "datum://a")


def test_given_inputs_replace_defaults_where_no_edge_leads(tmp_path: Path) -> None:
    plan = _plan(tmp_path, PIPELINE, inputs={"train.weights": ["datum://w"]})
    (job,) = _jobs(plan, "train", inputs={"images": ("datum://a",)})
    assert job.plan.inputs[1].uris == ("datum://w",)
    told = _refusal(tmp_path, PIPELINE, inputs={"train.images": ["datum://w"]})
    assert told.startswith("What an edge fills can't be given: train.input.images")


def test_overridden_values_keep_the_steps_definitions(tmp_path: Path) -> None:
    text = """
    - pipeline:
        name: main
        nodes:
          - name: train
            type: execution
            step: train
            override:
              parameters:
                - {name: epochs, default: 7}
                - {name: lr, default: 0.5}
              inputs:
                - {name: images, default: 'dataset://images/v2'}
        edges: []
    """
    (job,) = _jobs(_plan(tmp_path, text), "train")
    assert job.plan.parameters == {"lr": 0.5, "epochs": 7, "tags": [], "fast": True}
    assert job.plan.commands == ("python train.py -l 0.5 --epochs=7 --fast", "echo -l 0.5")
    assert job.plan.inputs[0].uris == ("dataset://images/v2",)
    assert "epochs' is out of its limits" in _refusal(tmp_path, text.replace("7}", "700}"))


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


def test_pipeline_parameters_fill_all_their_targets(tmp_path: Path) -> None:
    plan = _plan(tmp_path, PARAMETERS)
    one, two = _jobs(plan, "one")[0].plan, _jobs(plan, "two")[0].plan
    assert one.parameters == {"lr": 0.3, "epochs": 1, "tags": ["a", "b"], "fast": True}
    assert two.parameters == {"lr": 0.3, "epochs": 1, "tags": [], "fast": True}


def test_given_values_go_before_defaults_and_a_nodes_own_before_both(tmp_path: Path) -> None:
    given = {"rate": "0.7", "two.lr": "0.9", "none": "5", "tags": ["x"]}
    plan = _plan(tmp_path, PARAMETERS, parameters=given)
    one, two = _jobs(plan, "one")[0].plan, _jobs(plan, "two")[0].plan
    assert one.parameters == {"lr": 0.7, "epochs": 1, "tags": ["x"], "fast": True}
    assert two.parameters == {"lr": 0.9, "epochs": 5, "tags": [], "fast": True}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"parameters": {"rte": "1"}}, "no parameter 'rte'. Did you mean 'rate'?"),
        ({"parameters": {"three.lr": "1"}}, "no node 'three'"),
        ({"parameters": {"one.rate": "1"}}, "node 'one' has no parameter 'rate'"),
        ({"parameters": {"one.epochs": "many"}}, "'epochs' is not a whole number"),
        ({"inputs": {"images": ["datum://a"]}}, "Write NODE.images"),
        ({"inputs": {"one.pictures": ["datum://a"]}}, "no input 'pictures'"),
        ({"inputs": {"one.images": ["nowhere"]}}, "needs a URI"),
    ],
)
def test_what_is_given_for_nothing_is_named(
    tmp_path: Path, given: dict[str, Any], told: str
) -> None:
    assert told in _refusal(tmp_path, PARAMETERS, **given)


def test_an_edges_parameter_cannot_be_given(tmp_path: Path) -> None:
    text = PIPELINE.replace(
        "[make.output.*.jpg, train.input.images]", "[make.metadata.e, train.parameter.epochs]"
    )
    told = _refusal(tmp_path, text, parameters={"train.epochs": "3"})
    assert told.startswith("What an edge fills can't be given: train.parameter.epochs")


def test_variables_reach_every_node(tmp_path: Path) -> None:
    plan = _plan(tmp_path, PARAMETERS, environment={"MODE": "quick", "X": "1"})
    for node in ("one", "two"):
        assert _jobs(plan, node)[0].plan.environment == {"MODE": "quick", "X": "1"}
    (job,) = _jobs(_plan(tmp_path, PARAMETERS), "one", environment={"MODE": "copied"})
    assert job.plan.environment == {"MODE": "copied"}


# -- tasks ---------------------------------------------------------------------------------------

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


def test_a_task_tries_its_grid(tmp_path: Path) -> None:
    text = TASK.replace("- [make.metadata.epochs, train.parameter.epochs]", "[]")
    plan = _plan(tmp_path, text.replace("edges:\n      []", "edges: []"))
    jobs = _jobs(plan, "train")
    assert [job.title for job in jobs] == [f"train/{n}" for n in range(1, 7)]
    assert [tuple(job.tried.values()) for job in jobs[:4]] == [
        (0.1, 1),
        (0.1, 2),
        (0.1, 3),
        (0.2, 1),
    ]
    assert plan.nodes["train"].rules.most_at_once == 2


def test_lists_fan_out_and_single_values_fix_an_axis(tmp_path: Path) -> None:
    plan = _plan(tmp_path, TASK, parameters={"rates": ["0.5", "0.6", "0.7"]})
    jobs = _jobs(plan, "train", parameters={"epochs": [4, 5]})
    assert [(j.plan.parameters["lr"], j.plan.parameters["epochs"]) for j in jobs] == [
        (0.5, 4),
        (0.5, 5),
        (0.6, 4),
        (0.6, 5),
        (0.7, 4),
        (0.7, 5),
    ]
    jobs = _jobs(
        _plan(tmp_path, TASK, parameters={"rates": "0.5"}), "train", parameters={"epochs": 4}
    )
    assert [(j.title, j.plan.parameters["lr"]) for j in jobs] == [("train", 0.5)]


def test_where_a_parameter_takes_several_a_list_is_one_value(tmp_path: Path) -> None:
    text = PARAMETERS.replace("name: one, type: execution", "name: one, type: task")
    plan = _plan(tmp_path, text)
    assert [job.plan.parameters["tags"] for job in _jobs(plan, "one")] == [["a", "b"]]
    plan = _plan(tmp_path, text, parameters={"tags": [["a"], ["b", "c"]]})
    assert [job.plan.parameters["tags"] for job in _jobs(plan, "one")] == [["a"], ["b", "c"]]


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
    jobs = _jobs(_plan(tmp_path, text), "train")
    assert [job.plan.parameters["lr"] for job in jobs] == [0.1, 0.2]
    assert [job.plan.parameters["epochs"] for job in jobs] == [2, 2]


def test_an_execution_does_not_fan_out(tmp_path: Path) -> None:
    told = _refusal(tmp_path, PARAMETERS, parameters={"rate": ["0.1", "0.2"]})
    assert "node 'one': Parameter 'lr' takes one value, not 2" in told


def test_an_empty_list_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="empty list"):
        _jobs(_plan(tmp_path, TASK), "train", parameters={"epochs": []})


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
    jobs = _jobs(_plan(tmp_path, text), "train")
    assert [job.tried for job in jobs] == [{"lr": 1, "epochs": 2}, {"lr": 3}]
    assert [job.plan.parameters["epochs"] for job in jobs] == [2, 1]
    jobs = _jobs(_plan(tmp_path, text, parameters={"train.lr": "9"}), "train")
    assert [job.plan.parameters["lr"] for job in jobs] == [9.0, 9.0]
    told = _refusal(tmp_path, text, parameters={"train.lr": ["8", "9"]})
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
    plan = _plan(tmp_path, text)
    drawn = [job.tried for job in _jobs(plan, "train")]
    assert len(drawn) == 5
    assert drawn == [job.tried for job in _jobs(plan, "train")]
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
    assert _plan(tmp_path, text).nodes["train"].rules.on_child_error is on_child_error
    text = text.replace(
        "type: grid_search", "type: grid_search\n    on-child-error: continue_and_error"
    )
    told = _plan(tmp_path, text).nodes["train"].rules.on_child_error
    assert told is OnChildError.CONTINUE_AND_ERROR


# -- what is refused, and what is warned about ---------------------------------------------------


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
    message = _refusal(tmp_path, TASK.replace(before, after))
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
    told = _refusal(tmp_path, text)
    assert "node 'deploy' makes the deployment 'live', and nothing is deployed here" in told
    assert "node 'other' takes its step from commit '1234'" in told


def test_a_circle_and_an_unknown_node_are_named(tmp_path: Path) -> None:
    told = _refusal(tmp_path, PIPELINE + "      - [train.output.x, make.dependency.x]\n")
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
    assert "Give it one with -i report.models=URI" in _refusal(tmp_path, text)


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
    warnings = "\n".join(_plan(tmp_path, text).warnings)
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


def test_an_unknown_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="Did you mean 'main'"):
        plan_pipeline(config(tmp_path, PIPELINE), "mian")


def test_dates_are_filled_everywhere(tmp_path: Path) -> None:
    text = PIPELINE.replace("dataset://images/v1", "dataset://images/DAY")
    steps = STEPS.replace("dataset://images/v1", "dataset://images/DAY")
    loaded = config(tmp_path, text, steps=steps)
    plan = plan_pipeline(loaded, "main", fill=lambda text: text.replace("DAY", "2026-11-22"))
    assert _jobs(plan, "train")[0].plan.inputs[0].uris == ("dataset://images/2026-11-22",)
