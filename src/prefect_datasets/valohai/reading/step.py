"""Plan one run of a step: everything that can be wrong with what it is given is found here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from valohai_yaml.objs import Step

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.plan import Given, InputPlan, ParameterValue, StepPlan
from prefect_datasets.valohai.reading.config import Config
from prefect_datasets.valohai.reading.document import list_of, mapping_of
from prefect_datasets.valohai.reading.inputs import plan_input, uris_of
from prefect_datasets.valohai.reading.names import match, suggest
from prefect_datasets.valohai.reading.parameters import Fill, build_commands, parse_value, unfilled

# What a step can ask for that would change what its commands find, and that nobody does here.
_WITHOUT = {
    "mounts": "nothing is mounted",
    "environment-variable-groups": "give their variables with -e",
    "stop-condition": "the step runs to its end",
    "upload-store": "outputs go to the store of the run",
}

_T = TypeVar("_T")


@dataclass(slots=True)
class _Planning:
    """A step, what is given for it, and what turned out to be wrong."""

    step: Step
    raw: Mapping[str, Any]
    given: Given
    fill: Fill
    errors: list[InvalidInputError] = field(default_factory=list[InvalidInputError])

    def attempt(self, call: Callable[..., _T], *args: Any, **more: Any) -> _T | None:
        """Call; an error is noted, and tells with all others."""
        try:
            return call(*args, **more)
        except InvalidInputError as error:
            self.errors.append(error)
            return None

    def overridden(self, key: str) -> dict[str, Mapping[str, Any]]:
        """Return what the pipeline's node overrides of the step's parameters, inputs …, by name."""
        items = map(mapping_of, list_of((self.given.override or {}).get(key)))
        return {item["name"]: item for item in items if "name" in item}


def plan_step(
    config: Config, name: str, given: Given | None = None, *, fill: Fill = str
) -> StepPlan:
    """Decide what a run of a step will be.

    Args:
        config: The file.
        name: The step.
        given: What comes from outside; it goes before the defaults, a node's override between.
        fill: Writes what is only known now, such as a date, into text values and URIs.

    Raises:
        InvalidInputError: There is no such step, or what is given does not fit it; all that is
            wrong is told at once.
    """
    step = config.step(name)
    planning = _Planning(step, config.raw("step", name), given or Given(), fill)
    _check_names(planning)
    values = _values(planning)
    inputs = _inputs(planning, values)
    environment = _environment(planning)
    command = (planning.given.override or {}).get("command")
    commands = planning.attempt(build_commands, step, values, command) or ()
    if planning.errors:
        raise _all(planning.errors, f"{config.path}, step {step.name!r}")
    warnings = [*config.warnings_about("step", name), *_own_warnings(planning, values, command)]
    return StepPlan(
        step=step.name,
        image=(planning.given.override or {}).get("image") or step.image,
        commands=commands,
        parameters=values,
        inputs=inputs,
        environment=environment,
        repository=(planning.given.repository or config.path.parent).resolve(),
        source_path=step.source_path,
        time_limit=_seconds(step.time_limit),
        no_output_timeout=_seconds(step.no_output_timeout),
        fail_fast=planning.given.fail_fast,
        write_repository=planning.given.write_repository,
        warnings=tuple(warnings),
    )


def _check_names(planning: _Planning) -> None:
    """See that all that is given is declared, and declared once."""
    step, given = planning.step, planning.given
    for what, known, named in (
        ("parameter", step.parameters, given.parameters),
        ("input", step.inputs, [*given.inputs, *given.append_inputs]),
    ):
        for twin in _twins(planning.raw.get(f"{what}s", ())):
            planning.errors.append(
                InvalidInputError(
                    f"Two {what}s have the name {twin!r}", hint="Give each a name of its own."
                )
            )
        for name in dict.fromkeys(named):
            if match(name, known) is None:
                planning.errors.append(
                    InvalidInputError(f"No such {what} {name!r}", hint=suggest(name, known))
                )


def _twins(items: Iterable[Mapping[str, Any]]) -> list[str]:
    counts = Counter(item["name"] for item in items)
    return [name for name, count in counts.items() if count > 1]


def _values(planning: _Planning) -> dict[str, ParameterValue]:
    """Return the parameters' values; one without a value is not in it."""
    given = _by_known_name(planning.given.parameters, planning.step.parameters)
    overridden = planning.overridden("parameters")
    values: dict[str, ParameterValue] = {}
    for name, parameter in planning.step.parameters.items():
        value = parameter.default
        if name in overridden:
            value = overridden[name].get("default")
        value = given.get(name, value)
        if value is not None:
            parsed = planning.attempt(parse_value, parameter, value, fill=planning.fill)
            # After an error nothing is run; the text keeps one fault from being told as several.
            values[name] = str(value) if parsed is None else parsed
    return values


def _inputs(planning: _Planning, values: Mapping[str, ParameterValue]) -> tuple[InputPlan, ...]:
    given = _by_known_name(planning.given.inputs, planning.step.inputs)
    appended = _by_known_name(dict.fromkeys(planning.given.append_inputs), planning.step.inputs)
    overridden = planning.overridden("inputs")
    plans: list[InputPlan | None] = []
    for written in planning.raw.get("inputs", ()):
        name: str = written["name"]
        override = overridden.get(name)
        uris = uris_of((override or written).get("default"))
        if name in given:
            uris = [*(uris if name in appended else ()), *uris_of(given[name])]
        plans.append(
            planning.attempt(
                plan_input,
                {**written, **(override or {})},
                uris,
                parameters=planning.step.parameters,
                values=values,
                fill=planning.fill,
            )
        )
    return tuple(plan for plan in plans if plan is not None)


def _environment(planning: _Planning) -> dict[str, str]:
    """Return the step's variables, a node's, then those given."""
    variables = planning.step.environment_variables
    defaults = {name: variable.default for name, variable in variables.items()}
    overridden = planning.overridden("environment-variables")
    defaults |= {name: written.get("default") for name, written in overridden.items()}
    found = {name: default for name, default in defaults.items() if default is not None}
    found |= planning.given.environment
    missing = [name for name, v in variables.items() if not v.optional and name not in found]
    planning.errors.extend(
        InvalidInputError(
            f"The variable {name!r} is required and has no value", hint=f"Give -e {name}=VALUE."
        )
        for name in missing
    )
    planning.errors.extend(
        InvalidInputError("No variable can be set so", subject=f"{name!r}={value!r}")
        for name, value in found.items()
        if not name or "=" in name or "\0" in name + value
    )
    return found


def _by_known_name(given: Mapping[str, _T], known: Collection[str]) -> dict[str, _T]:
    return {meant: value for name, value in given.items() if (meant := match(name, known))}


def _own_warnings(
    planning: _Planning,
    values: Mapping[str, ParameterValue],
    command: str | list[str] | None,
) -> Iterator[str]:
    yield from unfilled(planning.step, values, command)
    for key, instead in _WITHOUT.items():
        if planning.raw.get(key):
            yield f"Step {planning.step.name!r} has {key}, which is not supported: {instead}"
    for name, parameter in planning.step.parameters.items():
        if name not in values and not parameter.optional and name not in planning.given.parameters:
            yield f"Parameter {name!r} is not optional and has no value"


def _seconds(limit: timedelta | None) -> float | None:
    return limit.total_seconds() if limit else None


def _all(errors: list[InvalidInputError], subject: str) -> InvalidInputError:
    """Make one error of all: a lone one as itself, several a line each."""
    if len(errors) == 1:
        return errors[0]
    return InvalidInputError(
        f"{len(errors)} things are wrong with what is given",
        subject=subject,
        hint="Correct these.",
        faults=tuple(str(error) for error in errors),
    )
