"""A valohai.yaml as it is read: what is accepted, and how each fault is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_datasets.core.errors import DatasetError, InvalidInputError, NotFoundError
from prefect_datasets.valohai.reading.config import load
from tests.valohai.files import config, step, write

STEP = """
    - step:
        name: train
        image: python:3.11
        command: python train.py
"""
PIPELINE = """
    - step:
        name: a
        image: any
        command: a
    - step:
        name: b
        image: any
        command: b
        inputs:
          - name: data
    - pipeline:
        name: both
        nodes:
          - {name: first, type: execution, step: a}
          - {name: second, type: execution, step: b}
        edges:
          - EDGE
"""


def told(folder: Path, text: str) -> str:
    """Return what is told of a file that is refused, without its folder."""
    path = write(folder, text)
    with pytest.raises(DatasetError) as error:
        load(path)
    return str(error.value).replace(str(folder), "")


# -- what is accepted ------------------------------------------------------------------------------


def test_a_file_is_its_items_in_order(tmp_path: Path) -> None:
    found = config(tmp_path, PIPELINE.replace("EDGE", "[first.output.*, second.input.data]"))
    assert [(item.kind, item.name) for item in found.items] == [
        ("step", "a"),
        ("step", "b"),
        ("pipeline", "both"),
    ]
    assert found.step("b").inputs.keys() == {"data"}
    assert found.raw("step", "b")["inputs"] == [{"name": "data"}]
    assert found.where("step", "b", "inputs", 0, "name") == f"{found.path}:10"
    assert not found.warnings


def test_a_folder_means_the_file_in_it(tmp_path: Path) -> None:
    write(tmp_path, STEP)
    assert load(tmp_path).names("step") == ["train"]


@pytest.mark.parametrize(
    "edge",
    [
        "[first.outputs.*.zip, second.inputs.data]",
        "{source: first.outputs.*.zip, target: second.inputs.data}",
        "[first.output.*.zip, second.input.data]",
    ],
)
def test_edge_types_may_stand_in_the_plural(tmp_path: Path, edge: str) -> None:
    (found,) = config(tmp_path, PIPELINE.replace("EDGE", edge)).pipeline("both").edges
    assert (found.source, found.target) == ("first.output.*.zip", "second.input.data")


def test_a_blueprint_is_a_pipeline(tmp_path: Path) -> None:
    text = PIPELINE.replace("EDGE", "[first.output.*, second.input.data]")
    found = config(tmp_path, text.replace("- pipeline:", "- blueprint:"))
    assert found.names("pipeline") == ["both"]
    assert found.where("pipeline", "both", "nodes") == f"{found.path}:13"


def test_dates_are_the_text_they_are_written_as(tmp_path: Path) -> None:
    found = step(tmp_path, "parameters: [{name: day, default: 2024-01-31}]")
    assert found.step("s").parameters["day"].default == "2024-01-31"
    assert not found.warnings


def test_a_limit_may_be_digits_in_quotes(tmp_path: Path) -> None:
    limit = step(tmp_path, 'time-limit: "90"').step("s").time_limit
    assert limit is not None
    assert limit.total_seconds() == 90


def test_anchors_and_merges_are_yaml_as_well(tmp_path: Path) -> None:
    found = config(
        tmp_path,
        """
        - step: &base
            name: a
            image: any
            command: a
        - step:
            <<: *base
            name: b
        """,
    )
    assert found.step("b").command == "a"
    assert not found.warnings


def test_an_empty_file_has_no_steps(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"No such step 'train'.*There are none"):
        config(tmp_path, "# nothing yet").step("train")


# -- what is worth a look --------------------------------------------------------------------------


def test_warnings_are_about_a_step_or_about_the_file(tmp_path: Path) -> None:
    found = config(
        tmp_path,
        """
        - step:
            name: a
            image: any
            command: a
            parameters: [{name: n, type: integer, default: none}]
        - step: {name: b, image: any, command: b, command: c}
        - stepp: {}
        """,
    )
    (key, item) = found.warnings_about("step", "b")
    assert key == f"{found.path}:6: The key 'command' stands here a second time; this one counts"
    assert item.startswith(f"{found.path}:7: Unknown item 'stepp'. Did you mean 'step'?")
    assert any(":5: Step a, parameter n" in line for line in found.warnings_about("step", "a"))


def test_two_of_a_name_are_refused_when_one_is_asked_for(tmp_path: Path) -> None:
    found = config(tmp_path, STEP + STEP)
    with pytest.raises(InvalidInputError, match=r"Several steps have the name 'train', on lines 1"):
        found.step("train")


@pytest.mark.parametrize("name", ["trian", "TRAIN", "trains"])
def test_a_near_name_is_offered(tmp_path: Path, name: str) -> None:
    found = config(tmp_path, STEP)
    if name == "TRAIN":  # Valohai's own client does not look at case either
        assert found.step(name).name == "train"
        return
    with pytest.raises(InvalidInputError, match=r"Did you mean 'train'\? There is train\."):
        found.step(name)


# -- what is refused -------------------------------------------------------------------------------


def test_a_missing_file_names_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "valohai.yml").write_text("[]")
    with pytest.raises(NotFoundError, match=r"Did you mean 'valohai.yml'\?"):
        load(tmp_path / "valohai.yaml")
    with pytest.raises(NotFoundError, match="-f FILE"):
        load(tmp_path / "no" / "valohai.yaml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "valohai.yaml").write_bytes(b"- step:\n    name: \xff\n")
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        load(tmp_path)


CASES = {
    "syntax": (
        "- step:\n  name: a\n    image: b\n",
        "This is no YAML: mapping values are not allowed here: /valohai.yaml:3:10. Align",
    ),
    "tab": ("- step:\n\tname: a\n", "/valohai.yaml:2:1. Indent with spaces"),
    "unclosed": ("- step: {name: a\n", "(while parsing a flow mapping that began on line 1)"),
    "mapping instead of list": (
        "step:\n  name: a\n",
        "The file: a list is needed here: /valohai.yaml:1. Begin each item with `- `.",
    ),
    "indentation": (
        "- step:\n  name: a\n  image: b\n",
        "step: nothing stands here: /valohai.yaml:1. Write a value, or indent the lines below it",
    ),
    "missing key": (
        "- step: {name: a, image: b}",
        "step 'a': command is missing: /valohai.yaml:1. Add `command:`.",
    ),
    "unknown key": (
        "- step:\n    name: a\n    image: b\n    command: c\n    inptus: []\n",
        "step 'a' has no key 'inptus': /valohai.yaml:5. Did you mean 'inputs'?",
    ),
    "a number where text must be": (
        (
            "- step:\n    name: a\n    image: b\n    command: c\n"
            "    environment-variables:\n      - name: X\n        default: 1\n"
        ),
        (
            "step 'a', environment-variable 'X', default: 1 is not text: /valohai.yaml:7."
            ' Put it in quotes: "1".'
        ),
    ),
    "a choice": (
        (
            "- step:\n    name: a\n    image: b\n    command: c\n"
            "    parameters:\n      - {name: n, type: int}\n"
        ),
        (
            "step 'a', parameter 'n', type: 'int' is none of the choices: /valohai.yaml:6."
            " Did you mean 'integer'?"
        ),
    ),
    "a name too long": (
        f"- step: {{name: a, image: b, command: c, inputs: [{{name: {'x' * 65}}}]}}",
        "is longer than 64 characters",
    ),
    "a limit that is none": (
        "- step:\n    name: a\n    image: b\n    command: c\n    time-limit: soon\n",
        "step 'a' can't be read",
    ),
    "a flag that is several": (
        (
            "- step:\n    name: a\n    image: b\n    command: c\n"
            "    parameters:\n      - {name: n, type: flag, multiple: repeat}\n"
        ),
        "step 'a' can't be read (Flag parameters can't be multiple): /valohai.yaml:1.",
    ),
    "an edge of two parts": (
        PIPELINE.replace("EDGE", "[first.output, second.input.data]"),
        "pipeline 'both', edge 1 can't be read (Source specifier 'first.output' must have 3 parts",
    ),
    "an edge to nowhere": (
        PIPELINE.replace("EDGE", "[first.output.*, third.input.data]"),
        "edge target node third does not exist: /valohai.yaml:17",
    ),
    "an edge of no known type": (
        PIPELINE.replace("EDGE", "[first.result.*, second.input.data]"),
        "source type result (between first and second) not valid: /valohai.yaml:17",
    ),
    "a node of no step": (
        PIPELINE.replace("step: b}", "step: c}").replace(
            "EDGE", "[first.output.*, second.input.d]"
        ),
        'node "second" step "c" does not exist: /valohai.yaml:15',
    ),
    "a node's choice": (
        PIPELINE.replace("step: b}", "step: b, on-error: stop}").replace("- EDGE", "[]"),
        (
            "node 'second', on-error: 'stop' is none of the choices: /valohai.yaml:15."
            " Did you mean 'stop-all'?"
        ),
    ),
    "an expression": (
        "- step:\n    name: a\n    image: b\n    command: c\n    stop-condition: a >\n",
        "`stop-condition` is not a valid expression",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_told_with_its_line_and_what_to_do(tmp_path: Path, case: str) -> None:
    text, expected = CASES[case]
    assert expected in told(tmp_path, text)


def test_several_faults_have_a_line_each(tmp_path: Path) -> None:
    lines = told(tmp_path, "- step:\n    name: a\n- step:\n    image: b\n").splitlines()
    assert lines == [
        "2 things are wrong in this file: /valohai.yaml. Correct these lines.",
        "  line 1: step 'a': command, image are missing. Add `command:`.",
        "  line 3: step: command, name are missing. Add `command:`.",
    ]
