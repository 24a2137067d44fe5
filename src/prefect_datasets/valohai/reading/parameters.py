"""Parameters: text or JSON becomes typed values, and values become commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from valohai_yaml.commands import build_command
from valohai_yaml.objs import Parameter, Step
from valohai_yaml.objs.parameter_map import ParameterMap

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.plan import ParameterValue
from prefect_datasets.valohai.reading.names import suggest

PLACEHOLDER = re.compile(r"\{(?P<form>parameter|parameter-value):(?P<name>[^{}]+)\}")
TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})

_Atom = str | int | float | bool
Fill = Callable[[str], str]


def parse_value(parameter: Parameter, value: object, *, fill: Fill = str) -> ParameterValue:
    """Read a value, from text or as JSON has it.

    Args:
        parameter: Its definition.
        value: Not None.
        fill: Writes what is only known now, such as a date, into text.

    Raises:
        InvalidInputError: It has another type, or is not among the choices or within the limits.
    """
    if isinstance(value, list | tuple):
        values = list(cast("list[object]", value))
        if not parameter.multiple:
            raise _wrong(parameter, f"takes one value, not {len(values)}", values)
        return cast("ParameterValue", [_atom(parameter, item, fill) for item in values])
    atom = _atom(parameter, value, fill)
    return cast("ParameterValue", [atom]) if parameter.multiple else atom


def choices_of(parameter: Parameter) -> list[_Atom]:
    """Return the choices in the parameter's type: YAML reads `[1, 2]` of a text as numbers."""
    if not parameter.choices or parameter.type == "flag":
        return []
    return [_typed(parameter, choice) for choice in parameter.choices]


def expected(parameter: Parameter) -> str:
    """Say what values there are: `a whole number from 1 to 100`."""
    if choices := choices_of(parameter):
        return f"one of {', '.join(map(str, choices))}"
    kind = {"integer": "a whole number", "float": "a number", "flag": "true or false"}
    low = "" if parameter.min is None else f" from {parameter.min}"
    high = "" if parameter.max is None else f" to {parameter.max}"
    return f"{kind.get(parameter.type, 'text')}{low}{high}"


def build_commands(
    step: Step, values: Mapping[str, ParameterValue], command: str | list[str] | None = None
) -> tuple[str, ...]:
    """Fill the step's commands, or `command`.

    valohai-yaml does it as the platform does: `{parameters}` and `{parameter:x}` become arguments,
    `{parameter-value:x}` a quoted value, and what it does not know stays as it is.

    Raises:
        InvalidInputError: A `pass-as` can't be filled.
    """
    special = {} if step.source_path is None else {"source-path": step.source_path}
    # Not `step.build_command`: it would bring back the default of what is given as no value.
    known = ParameterMap(parameters=step.parameters, values=dict[str, Any](values))
    try:
        return tuple(build_command(command or step.command, known, special))
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise InvalidInputError(
            f"A pass-as of step {step.name!r} can't be filled ({type(error).__name__}: {error})",
            hint="In pass-as write {v}, {value} or {name}, and double all other braces.",
        ) from error


def unfilled(
    step: Step, values: Mapping[str, ParameterValue], command: str | list[str] | None = None
) -> Iterator[str]:
    """Say of each placeholder that stays in the commands why it does."""
    commands = command or step.command
    for text in [commands] if isinstance(commands, str) else commands:
        for found in PLACEHOLDER.finditer(text):
            name = found["name"]
            if name not in step.parameters:
                hint = suggest(name, step.parameters)
                yield f"{found[0]} stays in a command: there is no parameter {name!r}. {hint}"
            elif name not in values and found["form"] == "parameter-value":
                yield f"{found[0]} stays in a command: parameter {name!r} has no value"


# -- one value -----------------------------------------------------------------------------------


def _atom(parameter: Parameter, value: object, fill: Fill) -> _Atom:
    if isinstance(value, str):
        value = fill(value)
    atom = _typed(parameter, value)
    choices = choices_of(parameter)
    if choices and atom not in choices:
        raise _wrong(parameter, "is none of the choices", value)
    if not _is_within(atom, parameter):
        raise _wrong(parameter, "is out of its limits", value)
    return atom


def _is_within(atom: _Atom, parameter: Parameter) -> bool:
    low, high = cast("tuple[Any, Any]", (parameter.min, parameter.max))
    if isinstance(atom, str | bool):
        return True
    # Not `atom < low`: what is no number at all is within no limits.
    return (low is None or atom >= low) and (high is None or atom <= high)


def _typed(parameter: Parameter, value: object) -> _Atom:
    read = {"integer": _integer, "float": _float, "flag": _flag}.get(parameter.type, _text)
    return read(parameter, value)


def _integer(parameter: Parameter, value: object) -> int:
    if isinstance(value, float) and value.is_integer():  # what a step printed as JSON
        return int(value)
    try:
        return int(str(value), 10)
    except ValueError as error:
        raise _wrong(parameter, "is not a whole number", value) from error


def _float(parameter: Parameter, value: object) -> int | float:
    """Read a number; a whole one stays whole, so that a command shows it as it was written."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return float(str(value))
    except ValueError as error:
        raise _wrong(parameter, "is not a number", value) from error


def _flag(parameter: Parameter, value: object) -> bool:
    text = str(value).strip().lower()
    if text not in TRUE | FALSE:
        raise _wrong(parameter, "is neither true nor false", value)
    return text in TRUE


def _text(parameter: Parameter, value: object) -> str:
    if not isinstance(value, str | int | float):
        raise _wrong(parameter, "is not text", value)
    text = str(value)
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise _wrong(parameter, "is not UTF-8", value) from error
    if b"\0" in encoded:
        raise _wrong(parameter, "has a NUL character, which no command can have", value)
    return text


def _wrong(parameter: Parameter, what: str, value: object) -> InvalidInputError:
    several = ", once for each value" if parameter.multiple else ""
    return InvalidInputError(
        f"Parameter {parameter.name!r} {what}",
        subject=repr(value),
        hint=f"Give {expected(parameter)}{several}.",
    )
