"""The plan of a run: what comes from the file, what from outside, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.plan import Given, InputPlan
from prefect_datasets.valohai.reading.config import Config
from prefect_datasets.valohai.reading.step import plan_step
from tests.valohai.files import config, step

INPUTS = """
parameters:
  - {name: version, default: v1}
  - {name: days, multiple: separate, default: [mon, tue]}
  - {name: model, optional: true}
inputs:
  - {name: images, default: "dataset://images/{parameter:version}"}
  - {name: sensors, default: ["s3://bucket/{parameter:days}/*.csv", "gs://bucket/all.csv"]}
  - {name: model, default: "{parameter:model}", optional: true, filename: model.pkl}
  - {name: extra, optional: true, keep-directories: none}
"""


def inputs(given_config: Config, **given: Any) -> dict[str, InputPlan]:
    return {plan.name: plan for plan in plan_step(given_config, "s", Given(**given)).inputs}


def told(given_config: Config, **given: Any) -> str:
    with pytest.raises(InvalidInputError) as error:
        plan_step(given_config, "s", Given(**given))
    return str(error.value)


# -- inputs ----------------------------------------------------------------------------------------


def test_every_declared_input_is_planned(tmp_path: Path) -> None:
    planned = inputs(step(tmp_path, INPUTS))
    assert list(planned) == ["images", "sensors", "model", "extra"]
    assert planned["images"].uris == ("dataset://images/v1",)
    assert planned["sensors"].uris == (
        "s3://bucket/mon/*.csv",
        "s3://bucket/tue/*.csv",
        "gs://bucket/all.csv",
    )
    assert planned["model"] == InputPlan("model", (), None, "model.pkl", optional=True)


def test_parameters_are_filled_raw(tmp_path: Path) -> None:
    planned = inputs(step(tmp_path, INPUTS), parameters={"model": "s3://b/my model.pkl"})
    assert planned["model"].uris == ("s3://b/my model.pkl",)


def test_given_uris_replace_the_defaults_or_come_after_them(tmp_path: Path) -> None:
    given = {"images": ["datum://a", "datum://b"]}
    assert inputs(step(tmp_path, INPUTS), inputs=given)["images"].uris == ("datum://a", "datum://b")
    appended = inputs(step(tmp_path, INPUTS), inputs=given, append_inputs=frozenset({"images"}))
    assert appended["images"].uris == ("dataset://images/v1", "datum://a", "datum://b")


@pytest.mark.parametrize(
    ("written", "planned"),
    [
        ("", None),
        (", keep-directories: none", "none"),
        (", keep-directories: false", "none"),
        (", keep-directories: true", "full"),
        (", keep-directories: suffix", "suffix"),
    ],
)
def test_keep_directories_tells_nothing_said_from_none(
    tmp_path: Path, written: str, planned: str | None
) -> None:
    found = inputs(step(tmp_path, f"inputs: [{{name: a, default: 's3://b/*'{written}}}]"))
    assert found["a"].keep_directories == planned


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("", "Input 'a' has no URI and is not optional. Give it one with -i a=URI."),
        (", default: []", "Input 'a' has no URI"),
        (", default: ''", "Input 'a' has no URI"),
        (", default: images/train", "Input 'a' needs a URI: 'images/train'. Write dataset://"),
        (", default: 'dataset://KITTI/v3'", "Invalid dataset name 'KITTI': dataset://KITTI/v3."),
        (", default: 'dataset://kitti'", "Not a dataset version URI: 'dataset://kitti'."),
        (", default: 'datum://'", "Not a datum URI: 'datum://'."),
        (", default: 'model://a/latest'", "there is no model registry here: model://a/latest."),
        (
            ", default: 's3://b/{parameter:dya}'",
            (
                "Input 'a' can't be filled: there is no parameter 'dya': s3://b/{parameter:dya}."
                " Did you mean 'day'? There is day."
            ),
        ),
        (
            ", default: 's3://b/{parameter:day}'",
            (
                "Input 'a' can't be filled: there is no value for 'day': s3://b/{parameter:day}."
                " Give -p day=VALUE."
            ),
        ),
    ],
)
def test_an_input_that_brings_nothing_or_nonsense_is_refused(
    tmp_path: Path, default: str, expected: str
) -> None:
    text = f"parameters: [{{name: day, optional: true}}]\ninputs: [{{name: a{default}}}]"
    assert expected in told(step(tmp_path, text))


@pytest.mark.parametrize("name", ["..", "a/b", "."])
def test_an_input_whose_name_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    text = f"inputs: [{{name: {name!r}, default: 's3://b/k'}}]"
    assert "An input's name is the name of its folder" in told(step(tmp_path, text))


# -- what is given ---------------------------------------------------------------------------------


def test_names_may_be_written_as_valohais_client_does(tmp_path: Path) -> None:
    found = step(tmp_path, "parameters: [{name: learning_rate, type: float}]")
    plan = plan_step(found, "s", Given(parameters={"learning-rate": "0.5"}))
    assert plan.parameters == {"learning_rate": 0.5}


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = """
    parameters:
      - {name: epochs, type: integer}
    inputs:
      - {name: images}
    environment-variables:
      - {name: TOKEN, optional: false}
    """
    lines = told(
        step(tmp_path, text), parameters={"epochs": "x", "epoch": 1}, inputs={"image": ["s3://b/k"]}
    ).splitlines()
    assert lines[0].startswith("5 things are wrong with what is given")
    assert lines[0].endswith("step 's'. Correct these.")
    assert lines[1:] == [
        "  No such parameter 'epoch'. Did you mean 'epochs'? There is epochs.",
        "  No such input 'image'. Did you mean 'images'? There is images.",
        "  Parameter 'epochs' is not a whole number: 'x'. Give a whole number.",
        "  Input 'images' has no URI and is not optional. Give it one with -i images=URI.",
        "  The variable 'TOKEN' is required and has no value. Give -e TOKEN=VALUE.",
    ]


@pytest.mark.parametrize("what", ["parameter", "input"])
def test_two_of_one_name_are_refused(tmp_path: Path, what: str) -> None:
    text = f"{what}s: [{{name: a, default: 's3://b/k'}}, {{name: a, default: 's3://b/l'}}]"
    assert f"Two {what}s have the name 'a'" in told(step(tmp_path, text))


def test_a_value_that_is_none_goes_before_the_default(tmp_path: Path) -> None:
    found = step(tmp_path, "parameters: [{name: a, default: x, optional: true}]")
    assert plan_step(found, "s", Given(parameters={"a": None})).parameters == {}


def test_what_is_only_known_now_is_filled_into_text_and_uris(tmp_path: Path) -> None:
    found = step(
        tmp_path,
        """
        parameters: [{name: day, default: "{today}"}, {name: n, type: integer, default: 1}]
        inputs: [{name: a, default: "dataset://sensors/{today}"}]
        """,
    )
    plan = plan_step(found, "s", fill=lambda text: text.replace("{today}", "2024-01-31"))
    assert plan.parameters == {"day": "2024-01-31", "n": 1}
    assert plan.commands == ("run --day=2024-01-31 --n=1",)
    assert plan.inputs[0].uris == ("dataset://sensors/2024-01-31",)


# -- the rest of a step ----------------------------------------------------------------------------


def test_a_step_is_planned_whole(tmp_path: Path) -> None:
    found = config(
        tmp_path,
        """
        - step:
            name: s
            image: python:3.11
            command:
              - cd src
              - python train.py
            source-path: src/train.py
            time-limit: 1h 30m 5s
            no-output-timeout: 90
            environment-variables:
              - {name: A, default: "1"}
              - {name: B, default: "2"}
              - {name: C}
        """,
    )
    plan = plan_step(found, "s", Given(environment={"B": "3", "D": "4"}, fail_fast=False))
    assert (plan.step, plan.image) == ("s", "python:3.11")
    assert plan.commands == ("cd src", "python train.py")
    assert plan.environment == {"A": "1", "B": "3", "D": "4"}
    assert plan.repository == tmp_path
    assert plan.source_path == "src/train.py"
    assert (plan.time_limit, plan.no_output_timeout) == (5405, 90)
    assert not plan.fail_fast
    assert not plan.write_repository
    assert plan.warnings == ()


def test_what_is_not_supported_is_said_before_the_step_runs(tmp_path: Path) -> None:
    found = step(
        tmp_path,
        """
        mounts: ["/data:/data"]
        environment-variable-groups: [secrets]
        stop-condition: accuracy > 0.9
        upload-store: mine
        parameters: [{name: a}]
        """,
    )
    assert plan_step(found, "s").warnings == (
        "Step 's' has mounts, which is not supported: nothing is mounted",
        (
            "Step 's' has environment-variable-groups, which is not supported: "
            "give their variables with -e"
        ),
        "Step 's' has stop-condition, which is not supported: the step runs to its end",
        "Step 's' has upload-store, which is not supported: outputs go to the store of the run",
        "Parameter 'a' is not optional and has no value",
    )


@pytest.mark.parametrize("name", ["", "A=B", "A\0"])
def test_a_variable_that_can_not_be_set_is_refused(tmp_path: Path, name: str) -> None:
    assert "No variable can be set so" in told(
        step(tmp_path, "description: none"), environment={name: "1"}
    )


# -- a pipeline's override -------------------------------------------------------------------------

OVERRIDDEN = """
parameters:
  - {name: epochs, type: integer, default: 1, pass-as: "-n {v}"}
  - {name: title, default: plain}
inputs:
  - {name: images, default: "s3://b/*", keep-directories: full}
environment-variables:
  - {name: A, default: "1"}
"""


def test_an_override_changes_values_and_not_what_a_parameter_is(tmp_path: Path) -> None:
    override = {
        "image": "other",
        "parameters": [{"name": "epochs", "default": 7}],
        "inputs": [{"name": "images", "default": "s3://c/*"}],
        "environment-variables": [{"name": "A", "default": "2"}],
    }
    plan = plan_step(step(tmp_path, OVERRIDDEN), "s", Given(override=override))
    assert plan.image == "other"
    assert plan.commands == ("run -n 7 --title=plain",)
    assert plan.inputs == (InputPlan("images", ("s3://c/*",), "full"),)
    assert plan.environment == {"A": "2"}


def test_what_is_given_goes_before_an_override(tmp_path: Path) -> None:
    override = {"command": "other {parameter:epochs}", "parameters": [{"name": "epochs"}]}
    given = Given(override=override, parameters={"epochs": "9"})
    assert plan_step(step(tmp_path, OVERRIDDEN), "s", given).commands == ("other -n 9",)


def test_an_override_without_a_default_empties_an_input(tmp_path: Path) -> None:
    """So users told a pipeline's edges to replace the input's own files."""
    override = {"inputs": [{"name": "images"}]}
    given = Given(
        override=override, inputs={"images": ["datum://x"]}, append_inputs=frozenset({"images"})
    )
    (plan,) = plan_step(step(tmp_path, OVERRIDDEN), "s", given).inputs
    assert plan.uris == ("datum://x",)
