"""Plans of pipelines: what runs with what, and which values go before which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.plan import plan_pipeline
from tests.valohai.pipelines import STEPS, config
from tests.valohai.planned import PARAMETERS, PIPELINE, jobs_of, plan_of, refusal


def test_a_pipeline_is_planned_in_the_order_of_the_file(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, PIPELINE)
    assert list(plan.nodes) == ["make", "train"]
    assert plan.nodes["train"].rules.after == {"make"}
    assert plan.warnings == ()


def test_what_edges_bring_replaces_the_defaults(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, PIPELINE)
    (job,) = jobs_of(plan, "train", inputs={"images": ("datum://a", "datum://b")})
    assert job.title == "train"
    assert job.plan.inputs[0].uris == ("datum://a", "datum://b")
    assert job.plan.inputs[1].uris == ()


def test_or_comes_after_them(tmp_path: Path) -> None:
    text = PIPELINE.replace("step: train}", "step: train, edge-merge-mode: append}")
    (job,) = jobs_of(plan_of(tmp_path, text), "train", inputs={"images": ("datum://a",)})
    assert job.plan.inputs[0].uris == ("dataset://images/v1", "datum://a")
    (job,) = jobs_of(plan_of(tmp_path, text), "train", inputs={"images": ()})
    assert job.plan.inputs[0].uris == ("dataset://images/v1",)
    plan = plan_of(tmp_path, text, inputs={"train.images": ["dataset://other/v1"]})
    (job,) = jobs_of(plan, "train", inputs={"images": ("datum://a",)})
    assert job.plan.inputs[0].uris == ("dataset://other/v1", "datum://a")


def test_given_inputs_replace_defaults_where_no_edge_leads(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, PIPELINE, inputs={"train.weights": ["datum://w"]})
    (job,) = jobs_of(plan, "train", inputs={"images": ("datum://a",)})
    assert job.plan.inputs[1].uris == ("datum://w",)
    told = refusal(tmp_path, PIPELINE, inputs={"train.images": ["datum://w"]})
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
    (job,) = jobs_of(plan_of(tmp_path, text), "train")
    assert job.plan.parameters == {"lr": 0.5, "epochs": 7, "tags": [], "fast": True}
    assert job.plan.commands == ("python train.py -l 0.5 --epochs=7 --fast", "echo -l 0.5")
    assert job.plan.inputs[0].uris == ("dataset://images/v2",)
    assert "epochs' is out of its limits" in refusal(tmp_path, text.replace("7}", "700}"))


def test_pipeline_parameters_fill_all_their_targets(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, PARAMETERS)
    one, two = jobs_of(plan, "one")[0].plan, jobs_of(plan, "two")[0].plan
    assert one.parameters == {"lr": 0.3, "epochs": 1, "tags": ["a", "b"], "fast": True}
    assert two.parameters == {"lr": 0.3, "epochs": 1, "tags": [], "fast": True}


def test_given_values_go_before_defaults_and_a_nodes_own_before_both(tmp_path: Path) -> None:
    given = {"rate": "0.7", "two.lr": "0.9", "none": "5", "tags": ["x"]}
    plan = plan_of(tmp_path, PARAMETERS, parameters=given)
    one, two = jobs_of(plan, "one")[0].plan, jobs_of(plan, "two")[0].plan
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
    assert told in refusal(tmp_path, PARAMETERS, **given)


def test_an_edges_parameter_cannot_be_given(tmp_path: Path) -> None:
    text = PIPELINE.replace(
        "[make.output.*.jpg, train.input.images]", "[make.metadata.e, train.parameter.epochs]"
    )
    told = refusal(tmp_path, text, parameters={"train.epochs": "3"})
    assert told.startswith("What an edge fills can't be given: train.parameter.epochs")


def test_variables_reach_every_node(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, PARAMETERS, environment={"MODE": "quick", "X": "1"})
    for node in ("one", "two"):
        assert jobs_of(plan, node)[0].plan.environment == {"MODE": "quick", "X": "1"}
    (job,) = jobs_of(plan_of(tmp_path, PARAMETERS), "one", environment={"MODE": "copied"})
    assert job.plan.environment == {"MODE": "copied"}


def test_an_unknown_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="Did you mean 'main'"):
        plan_pipeline(config(tmp_path, PIPELINE), "mian")


def test_dates_are_filled_everywhere(tmp_path: Path) -> None:
    text = PIPELINE.replace("dataset://images/v1", "dataset://images/DAY")
    steps = STEPS.replace("dataset://images/v1", "dataset://images/DAY")
    loaded = config(tmp_path, text, steps=steps)
    plan = plan_pipeline(loaded, "main", fill=lambda text: text.replace("DAY", "2026-11-22"))
    assert jobs_of(plan, "train")[0].plan.inputs[0].uris == ("dataset://images/2026-11-22",)
