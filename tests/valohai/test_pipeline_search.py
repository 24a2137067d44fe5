"""The values that a task tries."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.search import (
    MOST_EXECUTIONS,
    Axis,
    Draw,
    Points,
    Search,
    parse_axis,
    variants,
)

# On a loaded machine an example may take long.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _values(style: str, *, is_whole: bool = False, **rules: Any) -> tuple[Any, ...]:
    axis = parse_axis(style, rules, is_whole=is_whole)
    assert isinstance(axis, Points)
    return axis.values


@pytest.mark.parametrize(
    ("style", "rules", "values"),
    [
        ("single", {"value": 25}, (25,)),
        ("multiple", {"items": ["a", "b"]}, ("a", "b")),
        ("linear", {"start": 1, "end": 5, "step": 2}, (1, 3, 5)),
        ("linear", {"start": 1, "end": 4}, (1, 2, 3, 4)),
        ("linear", {"min": 25, "max": 25, "step": 1}, (25,)),
        ("linear", {"start": 0.1, "end": 0.3, "step": 0.1}, (0.1, 0.2, 0.3)),
        ("linear", {"start": 3, "end": 1, "step": -1}, (3, 2, 1)),
        ("logspace", {"start": -2, "end": 0, "count": 3}, (0.01, 0.1, 1.0)),
        ("logspace", {"min": -5, "max": -1, "count": 2, "base": 10}, (1e-5, 0.1)),
        ("logspace", {"start": 0, "end": 3, "count": 4, "base": 2}, (1.0, 2.0, 4.0, 8.0)),
        (
            "logspace",
            {"start": 0, "end": 1, "count": 5, "base": 4, "integerify": True},
            (1, 2, 3, 4),
        ),
    ],
)
def test_every_style_gives_its_values(
    style: str, rules: dict[str, Any], values: tuple[Any, ...]
) -> None:
    found = _values(style, **rules)
    assert found == pytest.approx(values) if isinstance(values[0], float) else found == values


def test_whole_numbers_stay_whole() -> None:
    assert [type(each) for each in _values("linear", start=1, end=3)] == [int, int, int]
    assert [type(each) for each in _values("linear", start=1.0, end=2.0)] == [float, float]
    assert _values("multiple", is_whole=True, items=[1.0, 2]) == (1, 2)
    assert all(isinstance(v, int) for v in _values("multiple", is_whole=True, items=[1.0, 2]))
    assert _values("logspace", is_whole=True, start=0, end=2, count=3) == (1, 10, 100)


@pytest.mark.parametrize(
    ("style", "rules", "told"),
    [
        ("single", {}, "lack 'value'"),
        ("multiple", {"items": []}, "about no value"),
        ("linear", {"start": 1}, "lack 'max'"),
        ("linear", {"start": 1, "end": 2, "step": 0}, "step .* is 0"),
        ("linear", {"start": 2, "end": 1, "step": 1}, "about no value"),
        ("linear", {"start": "a", "end": 1}, "no numbers"),
        ("linear", {"start": 0, "end": 1e9, "step": 1}, "more than the 1,000"),
        ("logspace", {"start": 0, "end": 1}, "lack 'count'"),
        ("logspace", {"start": 0, "end": 10000, "count": 2}, "no numbers"),
        ("random", {"min": 2, "max": 1}, "between 2 and 1"),
        ("random", {"min": 0, "max": 1, "distribution": "loguniform"}, "between 0 and 1"),
        ("random", {"min": 0.1, "max": 0.9, "integerify": True}, "No whole number"),
        ("random", {"min": 0, "max": 1, "distribution": "normal"}, "drawn from 'normal'"),
        ("multiple", {"items": 3}, "no numbers"),
    ],
)
def test_faulty_rules_are_refused(style: str, rules: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        parse_axis(style, rules, is_whole=False)


_FLOATS = st.floats(1e-6, 1e6)


@_PATIENT
@given(_FLOATS, _FLOATS, st.booleans(), st.booleans(), st.integers(0, 99))
def test_what_is_drawn_lies_between_the_ends(
    a: float, b: float, is_logarithmic: bool, is_whole: bool, seed: int
) -> None:
    low, high = min(a, b), max(a, b) + 1
    rules = {
        "min": low,
        "max": high,
        "distribution": "log-uniform" if is_logarithmic else "uniform",
    }
    axis = parse_axis("random", rules, is_whole=is_whole)
    search = Search("random_search", {"x": axis}, n_executions=20)
    drawn: list[Any] = [each["x"] for each in variants(search, seed=str(seed))]
    if is_whole:
        assert all(isinstance(each, int) for each in drawn)
        assert all(math.ceil(low) <= each <= math.floor(high) for each in drawn)
    assert all(low <= each <= high for each in drawn)
    assert drawn == [each["x"] for each in variants(search, seed=str(seed))]
    assert drawn != [each["x"] for each in variants(search, seed="other")] or high - low < 40


_AXES = st.dictionaries(
    st.sampled_from("abc"),
    st.lists(st.integers(), min_size=1, max_size=4, unique=True).map(
        lambda values: Points(tuple(values))
    ),
)


@_PATIENT
@given(_AXES)
def test_a_grid_has_every_combination_once(axes: dict[str, Points]) -> None:
    found = variants(Search("grid_search", axes), seed="")
    assert len(found) == math.prod(len(axis.values) for axis in axes.values())
    assert len({tuple(each.items()) for each in found}) == len(found)
    assert all(each.keys() == axes.keys() for each in found)


def test_the_last_axis_of_a_grid_turns_fastest() -> None:
    axes: dict[str, Axis] = {"a": Points((1, 2)), "b": Points(("x", "y"))}
    found = variants(Search("grid_search", axes), seed="")
    assert [tuple(each.values()) for each in found] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_a_grid_of_nothing_is_one_execution() -> None:
    assert variants(Search(), seed="") == [{}]


def test_a_manual_search_has_its_sets() -> None:
    sets = ({"A": 5, "B": 6}, {"A": 8})
    assert variants(Search("manual_search", sets=sets), seed="") == [{"A": 5, "B": 6}, {"A": 8}]


def test_a_manual_search_takes_values_side_by_side() -> None:
    axes: dict[str, Axis] = {"a": Points((1, 2)), "b": Points(("x",))}
    assert variants(Search("manual_search", axes), seed="") == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "x"},
    ]
    axes["b"] = Points(("x", "y", "z"))
    with pytest.raises(InvalidInputError, match="a has 2, b has 3"):
        variants(Search("manual_search", axes), seed="")


def test_a_random_search_draws_from_axes_of_every_kind() -> None:
    axes: dict[str, Axis] = {"a": Points((1, 2)), "b": Draw(0, 1, count=7)}
    found = variants(Search("random_search", axes), seed="")
    assert len(found) == 7
    assert {each["a"] for each in found} <= {1, 2}
    assert len(variants(Search("random_search", axes, n_executions=3), seed="")) == 3


def test_a_random_search_needs_a_number() -> None:
    with pytest.raises(InvalidInputError, match="execution-count"):
        variants(Search("random_search", {"a": Points((1, 2))}), seed="")


def test_a_grid_draws_as_many_as_its_rules_say() -> None:
    axis = Draw(0, 1, count=3)
    assert len(variants(Search("grid_search", {"a": axis}), seed="")) == 3


def test_more_executions_than_a_machine_can_bear_are_refused() -> None:
    axes: dict[str, Axis] = {name: Points(tuple(range(20))) for name in "abc"}
    with pytest.raises(InvalidInputError, match="8,000 executions"):
        variants(Search("grid_search", axes), seed="")
    search = Search("random_search", axes, n_executions=MOST_EXECUTIONS + 1)
    with pytest.raises(InvalidInputError, match="1,001 executions"):
        variants(search, seed="")
