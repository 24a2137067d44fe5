"""Actions: what is accepted, and when they fire."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.actions import (
    Then,
    When,
    evaluate,
    parse_action,
    warnings_of,
)


def _fires(
    condition: str, metadata: dict[str, Any], parameters: dict[str, Any] | None = None
) -> bool:
    action = parse_action(["node-complete"], [condition], ["stop-pipeline"])
    return bool(
        evaluate([action], When.COMPLETE, metadata=metadata, parameters=parameters or {}).fired
    )


@pytest.mark.parametrize(
    ("condition", "metadata"),
    [
        ("metadata.accuracy < .8", {"accuracy": 0.5}),
        ("metadata.accuracy < .8", {"accuracy": "0.5"}),
        ("metadata.val-accuracy >= 0.9", {"val-accuracy": 0.9}),
        ("metadata.verdict == 'good'", {"verdict": "good"}),
        ("metadata.drifted == true", {"drifted": True}),
        ("metadata.drifted", {"drifted": 1}),
        ("metadata.a.b > 1", {"a": {"b": 2}}),
        ("metadata.a.b > 1", {"a.b": 2}),
        ("metadata.lambda == 3", {"lambda": 3}),
        ("metadata.a > 1 and metadata.b < 1", {"a": 2, "b": 0}),
        ("metadata.gone is None", {}),
        ("min(metadata.a, metadata.b) == 1", {"a": 1, "b": 2}),
    ],
)
def test_a_condition_that_holds_fires(condition: str, metadata: dict[str, Any]) -> None:
    assert _fires(condition, metadata)


@pytest.mark.parametrize(
    ("condition", "metadata"),
    [
        ("metadata.accuracy < .8", {"accuracy": 0.9}),
        ("metadata.accuracy < .8", {}),
        ("metadata.accuracy < .8", {"accuracy": [0.1]}),
        ("metadata.accuracy < .8", {"accuracy": "no number"}),
        ("metadata.a > 1 and metadata.b < 1", {"a": 2, "b": 3}),
        ("a", {"a": 1}),
    ],
)
def test_a_condition_that_does_not_hold_does_not(condition: str, metadata: dict[str, Any]) -> None:
    assert not _fires(condition, metadata)


def test_why_a_condition_could_not_be_evaluated_is_told() -> None:
    action = parse_action(["node-complete"], ["metadata.loss-rate < 1"], ["noop"])
    notes = evaluate([action], When.COMPLETE, metadata={}, parameters={}).notes
    assert notes == (
        "condition 'metadata.loss-rate < 1' does not hold: No value ('metadata', 'loss-rate')",
    )


def test_parameters_can_be_asked_for() -> None:
    assert _fires("parameter.epochs > 3 and metadata.x", {"x": 1}, {"epochs": 5})


def test_all_conditions_must_hold_and_all_thens_fire_in_order() -> None:
    action = parse_action(
        ["node-complete", "NODE-ERROR"],
        ["metadata.a", "metadata.b"],
        ["noop", "require-approval", "stop-pipeline"],
    )
    both = evaluate([action], When.ERROR, metadata={"a": 1, "b": 1}, parameters={}).fired
    assert [each.then for each in both] == [Then.NOOP, Then.APPROVAL, Then.STOP]
    assert both[0].why == "node-error and metadata.a and metadata.b"
    assert not evaluate([action], When.ERROR, metadata={"a": 1, "b": 0}, parameters={}).fired
    assert not evaluate([action], When.STARTING, metadata={"a": 1, "b": 1}, parameters={}).fired


@pytest.mark.parametrize(
    ("when", "condition", "then", "told"),
    [
        ("node-done", "metadata.a", "noop", "'node-done' is no 'when'"),
        ("node-error", "metadata.a", "restart", "'restart' is no 'then'"),
        ("node-error", "metadata.a <", "noop", "no expression"),
        ("node-error", "metadata.a[0]", "noop", "no expression"),
        ("node-error", "1 < metadata.a < 2", "noop", "no expression"),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    when: str, condition: str, then: str, told: str
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        parse_action([when], [condition], [then])


def test_a_name_that_stands_for_nothing_is_warned_about() -> None:
    action = parse_action(["node-error"], ["accuracy < 1", "metadata.a == true"], ["noop"])
    (warning,) = warnings_of(action)
    assert warning.startswith("condition 'accuracy < 1' never holds: 'accuracy' is neither")
