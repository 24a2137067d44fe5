"""The form of a step: what a person may fill in before a run, as JSON schemas.

A server that holds values against them refuses a wrong one before there is a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from valohai_yaml.objs import Input, Parameter, Step
from valohai_yaml.objs.environment_variable import EnvironmentVariable

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.reading.config import Config
from prefect_datasets.valohai.reading.inputs import uris_of
from prefect_datasets.valohai.reading.parameters import choices_of, parse_value

_TYPES = {"integer": "integer", "float": "number", "flag": "boolean"}
# A URI, or a parameter that will be one.
_URI = r"^([A-Za-z][A-Za-z0-9+.\-]*://|\{parameter(-value)?:).+"


@dataclass(frozen=True, slots=True)
class Form:
    """The schemas of what a step takes, each of an object with a property per name.

    Attributes:
        step: Name of the step.
        description: What the file says the step does; may be empty.
        parameters: Of its parameters.
        inputs: Of its inputs; each is a list of URIs.
        environment: Of its environment variables; there may be others.
    """

    step: str
    description: str
    parameters: dict[str, Any]
    inputs: dict[str, Any]
    environment: dict[str, Any]


def step_form(config: Config, name: str) -> Form:
    """Make a step's form.

    Raises:
        InvalidInputError: There is no such step, or one of its defaults is wrong.
    """
    step = config.step(name)
    variables = step.environment_variables.values()
    return Form(
        step=step.name,
        description=(step.description or "").strip(),
        parameters=_object(
            "Parameters",
            {parameter.name: _parameter(config, step, parameter) for parameter in _of(step)},
            [each.name for each in _of(step) if _is_needed(each)],
        ),
        inputs=_object(
            "Inputs",
            {each.name: _input(each) for each in step.inputs.values()},
            [each.name for each in step.inputs.values() if not each.optional and not each.default],
        ),
        environment={
            **_object(
                "Environment",
                {each.name: _variable(each) for each in variables},
                [each.name for each in variables if not each.optional and each.default is None],
            ),
            "additionalProperties": {"type": "string"},
        },
    )


def _object(title: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    placed = {
        name: {**schema, "position": position}
        for position, (name, schema) in enumerate(properties.items())
    }
    return {
        "title": title,
        "type": "object",
        "properties": placed,
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def _of(step: Step) -> list[Parameter]:
    return list(step.parameters.values())


def _is_needed(parameter: Parameter) -> bool:
    # Without a default, valohai-yaml gives one with several values an empty list.
    return parameter.default in (None, []) and not parameter.optional


def _parameter(config: Config, step: Step, parameter: Parameter) -> dict[str, Any]:
    atom: dict[str, Any] = {"type": _TYPES.get(parameter.type, "string")}
    if choices := choices_of(parameter):
        atom["enum"] = choices
    if parameter.type in ("integer", "float"):
        limits = {"minimum": parameter.min, "maximum": parameter.max}
        atom |= {key: limit for key, limit in limits.items() if limit is not None}
    schema = {"type": "array", "items": atom} if parameter.multiple else atom
    return {
        "title": parameter.name,
        **_described(parameter.description),
        **schema,
        **_default(config, step, parameter),
    }


def _default(config: Config, step: Step, parameter: Parameter) -> dict[str, Any]:
    if parameter.default in (None, []):
        return {}
    try:
        return {"default": parse_value(parameter, parameter.default)}
    except InvalidInputError as error:
        raise InvalidInputError(
            f"The default can't be right: {error.message}",
            subject=f"{config.where('step', step.name, 'parameters')}, {error.subject}",
            hint=error.hint,
        ) from error


def _input(declared: Input) -> dict[str, Any]:
    uris = uris_of(declared.default)
    return {
        "title": declared.name,
        **_described(declared.description),
        "type": "array",
        "items": {"type": "string", "title": "URI", "pattern": _URI},
        **({} if declared.optional else {"minItems": 1}),
        **({"default": uris} if uris else {}),
    }


def _variable(variable: EnvironmentVariable) -> dict[str, Any]:
    default = {} if variable.default is None else {"default": variable.default}
    return {
        "title": variable.name,
        **_described(variable.description),
        "type": "string",
        **default,
    }


def _described(description: str | None) -> dict[str, str]:
    return {"description": description.strip()} if description else {}
