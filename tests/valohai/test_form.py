"""The form of a step: what a server will accept, and what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.reading.form import step_form
from tests.valohai.files import config, step

STEP = """
parameters:
  - {name: learning rate, type: float, default: 0.1, min: 0, max: 1, description: How fast.}
  - {name: epochs, type: integer, min: 1}
  - {name: model, choices: [1, 2], default: "1"}
  - {name: fast, type: flag, default: "yes"}
  - {name: layers, type: integer, multiple: separate, default: 5}
  - {name: note, optional: true}
inputs:
  - {name: data, default: "dataset://images/latest", description: What to train on.}
  - {name: more, default: ["s3://b/*", "{parameter:note}"]}
  - {name: labels}
  - {name: extra, optional: true}
environment-variables:
  - {name: LEVEL, default: info, description: How loud.}
  - {name: TOKEN, optional: false}
"""


def accepts(schema: dict[str, Any], value: object) -> bool:
    Draft202012Validator.check_schema(schema)
    validator: Any = Draft202012Validator(schema)
    return validator.is_valid(value)


def test_parameters_are_shown_with_all_that_the_file_says(tmp_path: Path) -> None:
    schema = step_form(step(tmp_path, STEP), "s").parameters
    properties = schema["properties"]
    assert properties["learning rate"] == {
        "title": "learning rate",
        "description": "How fast.",
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.1,
        "position": 0,
    }
    assert properties["model"]["enum"] == ["1", "2"]
    assert properties["fast"]["default"] is True
    assert properties["layers"]["default"] == [5]
    assert "default" not in properties["note"]
    assert schema["required"] == ["epochs"]


def test_one_with_several_values_may_be_needed_too(tmp_path: Path) -> None:
    found = step(tmp_path, "parameters: [{name: a, multiple: repeat}]")
    assert step_form(found, "s").parameters["required"] == ["a"]


def test_inputs_are_lists_of_uris(tmp_path: Path) -> None:
    schema = step_form(step(tmp_path, STEP), "s").inputs
    properties = schema["properties"]
    assert properties["data"]["default"] == ["dataset://images/latest"]
    assert properties["data"]["description"] == "What to train on."
    assert properties["more"]["default"] == ["s3://b/*", "{parameter:note}"]
    assert schema["required"] == ["labels"]


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ({"epochs": 1}, True),
        ({"epochs": 1, "learning rate": 1, "fast": False, "layers": [1, 2]}, True),
        ({"epochs": 1, "model": "2"}, True),
        ({}, False),
        ({"epochs": 0}, False),
        ({"epochs": 1.5}, False),
        ({"epochs": "1"}, False),
        ({"epochs": 1, "learning rate": 2}, False),
        ({"epochs": 1, "model": "3"}, False),
        ({"epochs": 1, "fast": "yes"}, False),
        ({"epochs": 1, "layers": 1}, False),
        ({"epochs": 1, "epoch": 1}, False),
    ],
)
def test_only_right_parameters_are_accepted(
    tmp_path: Path, values: dict[str, object], *, fits: bool
) -> None:
    assert accepts(step_form(step(tmp_path, STEP), "s").parameters, values) is fits


@pytest.mark.parametrize(
    ("uris", "fits"),
    [
        (["dataset://a/b", "s3://bucket/**.jpg"], True),
        (["{parameter:note}"], True),
        ([], False),
        (["images/*.jpg"], False),
        ("dataset://a/b", False),
    ],
)
def test_only_uris_are_accepted(tmp_path: Path, uris: object, *, fits: bool) -> None:
    schema = step_form(step(tmp_path, STEP), "s").inputs
    assert accepts(schema, {"labels": uris}) is fits
    assert accepts(schema, {"labels": ["s3://b/k"], "extra": []})


def test_variables_may_be_others_than_the_declared(tmp_path: Path) -> None:
    schema = step_form(step(tmp_path, STEP), "s").environment
    assert schema["properties"]["LEVEL"]["default"] == "info"
    assert accepts(schema, {"TOKEN": "t", "OTHER": "1"})
    assert not accepts(schema, {})
    assert not accepts(schema, {"TOKEN": 1})


def test_every_default_is_accepted(tmp_path: Path) -> None:
    form = step_form(step(tmp_path, STEP), "s")
    for schema in (form.parameters, form.inputs, form.environment):
        for name, each in schema["properties"].items():
            assert "default" not in each or accepts(each, each["default"]), name


def test_a_default_that_can_not_be_right_is_refused_with_its_line(tmp_path: Path) -> None:
    found = step(tmp_path, "parameters: [{name: n, type: integer, default: 7, max: 5}]")
    with pytest.raises(InvalidInputError, match=r"out of its limits: .*valohai.yaml:5, 7\. Give"):
        step_form(found, "s")


def test_a_step_that_takes_nothing_has_an_empty_form(tmp_path: Path) -> None:
    found = config(tmp_path, "- step: {name: s, image: any, command: c, description: ' Hello. '}")
    form = step_form(found, "s")
    assert form.description == "Hello."
    assert form.parameters["properties"] == form.inputs["properties"] == {}
    assert accepts(form.parameters, {})
