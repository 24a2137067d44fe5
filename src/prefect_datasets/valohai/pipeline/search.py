"""The values that a task tries: a grid, random draws, or sets written down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from random import Random
from typing import Any, Literal

from prefect_datasets.core.errors import InvalidInputError

Value = object
SearchType = Literal["grid_search", "random_search", "manual_search"]

MOST_EXECUTIONS = 1_000
_DISTRIBUTIONS = ("uniform", "loguniform")


@dataclass(frozen=True, slots=True)
class Points:
    """An axis of values that are known."""

    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """An axis of values that are drawn.

    Attributes:
        low: The least.
        high: The greatest.
        count: How many, where the search itself does not say.
        is_logarithmic: Whether their logarithm is spread evenly, instead of themselves.
        is_whole: Whether they are whole numbers.
    """

    low: float
    high: float
    count: int = 1
    is_logarithmic: bool = False
    is_whole: bool = False

    def draw(self, rng: Random) -> float:
        """Draw a value."""
        if self.is_logarithmic:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        elif self.is_whole:
            return rng.randint(round(self.low), round(self.high))
        else:
            value = rng.uniform(self.low, self.high)
        value = min(max(value, self.low), self.high)
        return round(value) if self.is_whole else value


Axis = Points | Draw


@dataclass(frozen=True, slots=True)
class Search:
    """What a task tries.

    Attributes:
        type: How values are put together.
        axes: The values of each parameter.
        sets: Sets of values that are written down, for a manual search.
        n_executions: How many executions a random search has; 0 where it does not say.
    """

    type: SearchType = "grid_search"
    axes: Mapping[str, Axis] | None = None
    sets: tuple[Mapping[str, Value], ...] = ()
    n_executions: int = 0


def parse_axis(style: str, rules: Mapping[str, Any], *, is_whole: bool) -> Axis:
    """Read the values that a parameter takes.

    Args:
        style: How `rules` describe them.
        rules: Their description.
        is_whole: Whether the parameter takes whole numbers only.

    Raises:
        InvalidInputError: The description lacks something or is about no value at all.
    """
    readers: dict[str, Callable[[Mapping[str, Any]], Axis]] = {
        "single": lambda rules: Points((_need(rules, "value"),)),
        "multiple": lambda rules: Points(tuple(_need(rules, "items"))),
        "linear": lambda rules: Points(tuple(_linear(rules))),
        "logspace": lambda rules: Points(tuple(_logspace(rules, is_whole=is_whole))),
        "random": lambda rules: _random(rules, is_whole=is_whole),
    }
    try:
        axis = readers[style](rules)
    except (TypeError, ValueError, ArithmeticError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"The rules of style {style!r} are no numbers: {error}") from error
    if isinstance(axis, Points) and not axis.values:
        raise InvalidInputError(f"The rules of style {style!r} are about no value")
    if isinstance(axis, Points) and is_whole:
        return Points(tuple(_as_whole(value) for value in axis.values))
    return axis


def variants(search: Search, *, seed: str) -> list[dict[str, Value]]:
    """Return the values of each execution, in order.

    Args:
        search: What to try.
        seed: The same for the same draws.

    Raises:
        InvalidInputError: They would be too many, or don't fit together.
    """
    rng = Random(seed)  # noqa: S311 - draws of an experiment, not of a password
    axes = search.axes or {}
    if search.sets:
        return [dict(each) for each in search.sets]
    if search.type == "grid_search":
        return _grid({name: _drawn(axis, rng) for name, axis in axes.items()})
    if search.type == "manual_search":
        return _side_by_side({name: _drawn(axis, rng) for name, axis in axes.items()})
    return _at_random(axes, search.n_executions, rng)


def _grid(axes: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    _check_number(math.prod(len(values) for values in axes.values()))
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _side_by_side(axes: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    """Take the n-th value of each axis; an axis of one value has it for all."""
    lengths = {name: len(values) for name, values in axes.items() if len(values) > 1}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidInputError(f"A manual search takes as many values of each parameter: {told}")
    number = max(lengths.values(), default=1)
    _check_number(number)
    return [
        {name: values[index % len(values)] for name, values in axes.items()}
        for index in range(number)
    ]


def _at_random(axes: Mapping[str, Axis], n_executions: int, rng: Random) -> list[dict[str, Value]]:
    counts = [axis.count for axis in axes.values() if isinstance(axis, Draw)]
    number = n_executions or max(counts, default=0)
    if number < 1:
        raise InvalidInputError(
            "A random search does not say how many executions it has",
            hint="Set execution-count, or count in the rules of a random parameter.",
        )
    _check_number(number)
    return [
        {
            name: axis.draw(rng) if isinstance(axis, Draw) else rng.choice(axis.values)
            for name, axis in axes.items()
        }
        for _ in range(number)
    ]


def _drawn(axis: Axis, rng: Random) -> tuple[Value, ...]:
    if isinstance(axis, Points):
        return axis.values
    return tuple(axis.draw(rng) for _ in range(axis.count))


def _check_number(number: int) -> None:
    if number > MOST_EXECUTIONS:
        raise InvalidInputError(
            f"A task of {number:,} executions is more than the {MOST_EXECUTIONS:,} that run here",
            hint="Give fewer values.",
        )


def _linear(rules: Mapping[str, Any]) -> Iterator[int | float]:
    """Count from start to end, which is included, without adding up what floats lose."""
    start, end = _ends(rules)
    step = Decimal(str(rules.get("step", 1)))
    if not step:
        raise InvalidInputError("The step of a linear parameter is 0")
    number = int((end - start) / step) + 1
    _check_number(number)
    yield from (_number(start + index * step) for index in range(number))


def _logspace(rules: Mapping[str, Any], *, is_whole: bool) -> Iterator[int | float]:
    """Raise the base to evenly spread exponents."""
    start, end = _ends(rules)
    count, base = int(_need(rules, "count")), float(rules.get("base") or 10)
    _check_number(count)
    seen: set[float] = set()
    for index in range(count):
        exponent = start + (end - start) * index / max(count - 1, 1)
        value = base ** float(exponent)
        value = round(value) if is_whole or rules.get("integerify") else value
        if value not in seen:
            seen.add(value)
            yield value


def _random(rules: Mapping[str, Any], *, is_whole: bool) -> Draw:
    low, high = (float(end) for end in _ends(rules))
    written = str(rules.get("distribution") or "uniform")
    distribution = written.lower().replace("-", "").replace("_", "")
    if distribution not in _DISTRIBUTIONS:
        raise InvalidInputError(
            f"Values can't be drawn from {written!r}", hint=f"Known: {', '.join(_DISTRIBUTIONS)}."
        )
    is_logarithmic = distribution == "loguniform"
    is_whole = is_whole or bool(rules.get("integerify"))
    what = "whole number" if is_whole else "value"
    least, most = (math.ceil(low), math.floor(high)) if is_whole else (low, high)
    if least > most or (is_logarithmic and low <= 0):
        raise InvalidInputError(f"No {what} can be drawn between {low:g} and {high:g}")
    return Draw(least, most, int(rules.get("count") or 1), is_logarithmic, is_whole)


def _ends(rules: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    """Return both ends, which are called start and end, or min and max."""
    low = rules["start"] if "start" in rules else _need(rules, "min")
    high = rules["end"] if "end" in rules else _need(rules, "max")
    return Decimal(str(low)), Decimal(str(high))


def _need(rules: Mapping[str, Any], key: str) -> Any:
    if key not in rules:
        raise InvalidInputError(f"The rules of a parameter lack {key!r}")
    return rules[key]


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() and _is_short(value) else float(value)


def _is_short(value: Decimal) -> bool:
    """Tell whether a number was written without a fraction, so that 1.0 stays a float."""
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= 0


def _as_whole(value: Value) -> Value:
    return int(value) if isinstance(value, float) and value.is_integer() else value
