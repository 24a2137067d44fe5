"""Parameters: what is a value, and what a command becomes, in a real bash."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from valohai_yaml.objs import Parameter, Step

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.plan import Given
from prefect_datasets.valohai.reading.parameters import build_commands, parse_value
from prefect_datasets.valohai.reading.step import plan_step
from tests.valohai.files import step

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def parameter(kind: str = "string", **more: Any) -> Parameter:
    return Parameter(name="x", type=kind, **more)


def commands(folder: Path, parameters: str, command: str, **given: object) -> str:
    """Return the command of a step with these parameters and values."""
    (only,) = plan_step(step(folder, parameters, command), "s", Given(parameters=given)).commands
    return only


def arguments(command: str) -> list[str]:
    """Run `command` in bash; it starts with `show`, which prints the arguments it gets."""
    script = f"show() {{ printf '%s\\0' \"$@\"; }}\n{command}"
    printed = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    return printed.decode().split("\0")[:-1]


# -- values ----------------------------------------------------------------------------------------


@given(st.integers())
def test_integers_are_read_from_text_and_from_json(number: int) -> None:
    assert parse_value(parameter("integer"), str(number)) == number
    assert parse_value(parameter("integer"), number) == number


@given(st.floats(allow_nan=False))
def test_floats_are_read_to_the_last_digit(number: float) -> None:
    assert parse_value(parameter("float"), repr(number)) == number
    assert parse_value(parameter("float"), number) == number


@given(st.sampled_from(["true", "yes", "on", "1"]), st.sampled_from(["false", "no", "off", "0"]))
def test_flags_are_words(true: str, false: str) -> None:
    assert parse_value(parameter("flag"), true.upper()) is True
    assert parse_value(parameter("flag"), false.title()) is False


@given(TEXT)
def test_text_stays_as_it_is(text: str) -> None:
    assert parse_value(parameter(), text) == text


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("integer", 5.0, 5),  # what a step printed as JSON and an edge hands on
        ("integer", " 7 ", 7),
        ("float", 3, 3),  # as written: a script may well want `int("3")`
        ("float", "1e-3", 0.001),  # YAML reads it as text
        ("string", 3, "3"),
        ("string", True, "True"),
        ("flag", 1, True),
    ],
)
def test_values_take_the_type_of_their_parameter(kind: str, value: object, read: object) -> None:
    found = parse_value(parameter(kind), value)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("definition", "value", "told"),
    [
        (parameter("integer"), "five", "is not a whole number: 'five'. Give a whole number."),
        (parameter("integer"), "", "is not a whole number: ''."),
        (parameter("integer"), 1.5, "is not a whole number: 1.5."),
        (parameter("integer"), True, "is not a whole number: True."),
        (parameter("float"), "1,5", "is not a number: '1,5'. Give a number."),
        (parameter("float"), True, "is not a number: True."),
        (parameter("flag"), "maybe", "is neither true nor false: 'maybe'. Give true or false."),
        (parameter(), {"a": 1}, "is not text: {'a': 1}. Give text."),
        (parameter(), "a\0b", "has a NUL character"),
        (parameter(), "a\udcffb", "is not UTF-8"),
        (parameter(), ["a", "b"], "takes one value, not 2: ['a', 'b']."),
        (parameter(multiple="repeat"), [["a"]], "is not text: ['a']. Give text, once for each"),
        (
            parameter("integer", min=1, max=9),
            "10",
            "is out of its limits: '10'. Give a whole number from 1 to 9.",
        ),
        (parameter("float", max=1), "nan", "is out of its limits: 'nan'. Give a number to 1."),
        (parameter(choices=["a", "b"]), "c", "is none of the choices: 'c'. Give one of a, b."),
        (parameter("integer", multiple="separate", max=3), [1, 4], "is out of its limits: 4."),
    ],
)
def test_a_wrong_value_is_told_with_what_would_be_right(
    definition: Parameter, value: object, told: str
) -> None:
    with pytest.raises(InvalidInputError) as error:
        parse_value(definition, value)
    assert f"Parameter 'x' {told}" in str(error.value)


def test_without_limits_a_float_may_be_no_number_at_all() -> None:
    assert math.isnan(float(str(parse_value(parameter("float"), "nan"))))


@pytest.mark.parametrize("value", ["1", 1])
def test_choices_have_the_type_of_their_parameter(value: object) -> None:
    """YAML reads `choices: [1, 2]` as numbers, whatever the parameter is."""
    assert parse_value(parameter(choices=[1, 2]), value) == "1"
    assert parse_value(parameter("float", choices=["1", "2"]), value) == 1


def test_several_values_are_a_list_and_one_is_a_list_of_one() -> None:
    several = parameter("integer", multiple="repeat")
    assert parse_value(several, ["1", 2]) == [1, 2]
    assert parse_value(several, "1") == [1]
    assert parse_value(several, []) == []


# -- commands --------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(TEXT, st.lists(TEXT, min_size=1, max_size=3))
def test_bash_gets_every_value_to_the_letter(one: str, several: list[str]) -> None:
    made = Step(
        name="s",
        image="any",
        command="show {parameter-value:one} {parameters} {parameter:one} --end",
        parameters=[
            Parameter(name="one"),
            Parameter(name="many", multiple="repeat", pass_as="-m {v}"),
            Parameter(name="joined", multiple="separate", multiple_separator=":"),
        ],
    )
    (command,) = build_commands(made, {"one": one, "many": several, "joined": several})
    assert arguments(command) == [
        one,
        f"--one={one}",
        *(argument for value in several for argument in ("-m", value)),
        f"--joined={':'.join(several)}",
        f"--one={one}",
        "--end",
    ]


TRAPS = """
parameters:
  - {name: size, type: integer, default: 3}
  - {name: rate, type: float, default: 1e-3, pass-as: "-r {v}"}
  - {name: title, default: hello world, pass-as: "-t {value}"}
  - {name: label, pass-as: "{name}:{v}", optional: true}
  - {name: fast, type: flag, default: true}
  - {name: slow, type: flag, default: false}
  - {name: "on", type: flag, pass-true-as: --yes, pass-false-as: "--no-{name}"}
  - {name: layers, type: integer, multiple: separate, multiple-separator: "-", default: [10, 5]}
  - {name: decoders, multiple: repeat, default: [a, b c]}
"""


@pytest.mark.parametrize(
    ("command", "given", "built"),
    [
        ("x {parameter:size}", {}, "x --size=3"),
        ("x {parameter-value:size}", {"size": 4}, "x 4"),
        ("x {parameter:rate}", {}, "x -r 0.001"),
        ("x {parameter:title}", {}, "x -t 'hello world'"),
        ("x {parameter:label}", {"label": "a b"}, "x 'label:a b'"),
        ("x {parameter:label} y", {}, "x  y"),
        ("x {parameter-value:label}", {}, "x {parameter-value:label}"),
        ("x {parameter:title} y", {"title": None}, "x  y"),
        ("x {parameter:fast}", {}, "x --fast"),  # a flag's default counts
        ("x {parameter:fast}", {"fast": "false"}, "x"),
        ("x {parameter:slow}", {}, "x"),
        ("x {parameter:slow}", {"slow": True}, "x --slow"),
        ("x {parameter:on}", {}, "x"),  # neither true nor false
        ("x {parameter:on}", {"on": True}, "x --yes"),
        ("x {parameter:on}", {"on": False}, "x --no-on"),
        ("x {parameter:layers}", {}, "x --layers=10-5"),
        ("x {parameter:layers}", {"layers": []}, "x"),
        ("x {parameter-value:layers}", {}, "x '[10, 5]'"),
        ("x {parameter:decoders}", {}, "x --decoders=a '--decoders=b c'"),
        ("x {nonsense} ${HOME} {parameter:other}", {}, "x {nonsense} ${HOME} {parameter:other}"),
        ("awk '{print $1}' {parameter-value:size}", {}, "awk '{print $1}' 3"),
        (
            "{params}",
            {"on": True, "label": "l"},
            (
                "--size=3 -r 0.001 -t 'hello world' label:l --fast --yes --layers=10-5 --decoders=a"
                " '--decoders=b c'"
            ),
        ),
    ],
)
def test_commands_are_filled_as_on_the_platform(
    tmp_path: Path, command: str, given: dict[str, object], built: str
) -> None:
    assert commands(tmp_path, TRAPS, command, **given) == built


def test_the_source_path_is_filled_where_the_step_has_one(tmp_path: Path) -> None:
    assert commands(tmp_path, "source-path: my train.py", "x {source-path}") == "x 'my train.py'"
    assert commands(tmp_path, "description: none", "x {source-path}") == "x {source-path}"


def test_what_stays_unfilled_is_warned_of(tmp_path: Path) -> None:
    config = step(
        tmp_path,
        "parameters: [{name: size, optional: true}]",
        "x {parameter-value:size} {parameter:size} {parameter:sise}",
    )
    assert plan_step(config, "s").warnings == (
        "{parameter-value:size} stays in a command: parameter 'size' has no value",
        (
            "{parameter:sise} stays in a command: there is no parameter 'sise'. "
            "Did you mean 'size'? There is size."
        ),
    )


def test_a_pass_as_with_other_braces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"A pass-as of step 's' can't be filled"):
        commands(tmp_path, "parameters: [{name: a, pass-as: '--a={val}', default: 1}]", "{params}")
