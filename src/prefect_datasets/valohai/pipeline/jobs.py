"""The executions of a node: one, or as many as its task tries values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from valohai_yaml.objs import Parameter, Step

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.graph import Edge
from prefect_datasets.valohai.pipeline.handover import Handed
from prefect_datasets.valohai.pipeline.nodes import NodePlan
from prefect_datasets.valohai.pipeline.search import Axis, Points, variants
from prefect_datasets.valohai.plan import Given, StepPlan
from prefect_datasets.valohai.reading.config import Config
from prefect_datasets.valohai.reading.document import list_of, mapping_of
from prefect_datasets.valohai.reading.parameters import choices_of
from prefect_datasets.valohai.reading.step import plan_step

_SOME_DATUM = "datum://00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class JobPlan:
    """One execution of a node.

    Attributes:
        title: What people call it: the node's name, with a number where there are several.
        plan: What runs.
        tried: The values that tell it from the node's other executions.
    """

    title: str
    plan: StepPlan
    tried: Mapping[str, Any] = field(default_factory=dict[str, Any])


def plan_executions(
    config: Config,
    node: NodePlan,
    given: Given,
    handed: Handed,
    *,
    fill: Callable[[str], str],
    seed: str,
) -> tuple[JobPlan, ...]:
    """Plan the executions of a node.

    Args:
        config: The file.
        node: The node.
        given: What it is given from outside.
        handed: What edges bring.
        fill: Writes what is only known now, such as a date, into text values and URIs.
        seed: The same for the same random draws.

    Raises:
        InvalidInputError: What is given or handed does not fit.
    """
    given = _merged(node, given, handed)
    step = config.step(node.step)
    tried: Sequence[Mapping[str, Any]] = [{}]
    if node.is_task:
        given, tried = _spread(step, node, given, seed=f"{seed}/{node.name}")
    plans = [
        plan_step(config, node.step, _with_values(given, values), fill=fill) for values in tried
    ]
    if len(plans) == 1:
        return (JobPlan(node.name, plans[0], tried[0]),)
    return tuple(
        JobPlan(f"{node.name}/{number}", plan, values)
        for number, (plan, values) in enumerate(zip(plans, tried, strict=True), 1)
    )


def stand_in(step: Step, edges: Iterable[Edge]) -> Handed:
    """Return what edges could bring, to see whether the rest fits."""
    ends = [edge.target for edge in edges if not edge.is_order]
    return Handed(
        parameters={
            end.key: _some_value(step.parameters[end.key])
            for end in ends
            if end.type == "parameter"
        },
        inputs={end.key: (_SOME_DATUM,) for end in ends if end.type == "input"},
        environment={end.key: "" for end in ends if end.type == "environment-variable"},
    )


def _some_value(parameter: Parameter) -> object:
    if parameter.default is not None:
        return parameter.default
    if choices := choices_of(parameter):
        return choices[0]
    if parameter.type in ("integer", "float"):
        return next((end for end in (parameter.min, parameter.max) if end is not None), 0)
    return parameter.type != "flag" and "text"


def _merged(node: NodePlan, given: Given, handed: Handed) -> Given:
    """Put what edges bring to what is given."""
    inputs: dict[str, Sequence[str]] = dict(given.inputs)
    appended: set[str] = set()
    for name, uris in handed.inputs.items():
        if name in given.inputs:
            inputs[name] = [*given.inputs[name], *uris]
        elif uris or not node.appends:
            inputs[name] = uris
            appended |= {name} if node.appends else set()
    return replace(
        given,
        parameters={**given.parameters, **handed.parameters},
        inputs=inputs,
        append_inputs=frozenset(appended),
        environment={**handed.environment, **given.environment},
    )


def _with_values(given: Given, values: Mapping[str, Any]) -> Given:
    return replace(given, parameters={**given.parameters, **values})


# -- tasks ---------------------------------------------------------------------------------------


def _spread(
    step: Step, node: NodePlan, given: Given, *, seed: str
) -> tuple[Given, list[dict[str, Any]]]:
    """Take the lists out of what is given, and return the values of each execution.

    A list fans out where the parameter takes one value; where it takes several, a list of lists.
    """
    values = {**_overridden(node.override, step), **given.parameters}
    lists = {name: value for name, value in values.items() if _fans_out(step, name, value)}
    fixed = {name: value for name, value in given.parameters.items() if name not in lists}
    if node.search.sets and lists:
        raise InvalidInputError(
            "A list can't fan out in a search whose sets are written down",
            subject=f"{node.name}.parameter.{next(iter(lists))}",
            hint="Write the values into the sets, or take the sets away.",
        )
    axes: dict[str, Axis] = {
        name: axis for name, axis in (node.search.axes or {}).items() if name not in fixed
    }
    axes |= {name: Points(tuple(_items(node, name, value))) for name, value in lists.items()}
    ordered = {name: axes[name] for name in step.parameters if name in axes}
    found = variants(replace(node.search, axes=ordered), seed=seed)
    tried = [{name: v for name, v in each.items() if name not in fixed} for each in found]
    override = _without_defaults(node.override, lists)
    return replace(given, parameters=fixed, override=override), tried


def _fans_out(step: Step, name: str, value: object) -> bool:
    parameter = step.parameters.get(name)
    if parameter is None or not isinstance(value, list | tuple):
        return False
    items = cast("Sequence[object]", value)
    return not parameter.multiple or any(isinstance(item, list | tuple) for item in items)


def _items(node: NodePlan, name: str, value: object) -> Sequence[object]:
    items = cast("Sequence[object]", value)
    if not items:
        raise InvalidInputError(
            "An empty list fans out to no execution",
            subject=f"{node.name}.parameter.{name}",
            hint="Give at least one value.",
        )
    return items


def _overridden(override: Mapping[str, Any] | None, step: Step) -> dict[str, object]:
    """Return the values that a node's override has for parameters of the step."""
    items = [mapping_of(item) for item in list_of((override or {}).get("parameters"))]
    return {
        item["name"]: item["default"]
        for item in items
        if item.get("name") in step.parameters and "default" in item
    }


def _without_defaults(
    override: Mapping[str, Any] | None, names: Iterable[str]
) -> Mapping[str, Any] | None:
    """Take values out of an override that fan out instead."""
    taken = set(names)
    if override is None or not taken:
        return override
    kept = [
        item
        for item in list_of(override.get("parameters"))
        if mapping_of(item).get("name") not in taken
    ]
    return {**override, "parameters": kept}
