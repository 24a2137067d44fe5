"""Actions of a node: `when` something happens to it, `if` conditions hold, `then` do something.

Conditions are expressions over `metadata.NAME` (the last value the node printed) and
`parameter.NAME`, in the language that Valohai's own library evaluates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from leval.excs import NoSuchValue
from leval.extras.common_boolean_evaluator import CommonBooleanEvaluator
from leval.universe.verifier import VerifierUniverse

from prefect_datasets.core.errors import InvalidInputError

_Values = dict[str | tuple[str, ...], Any]

# What the evaluator writes for a dash, and in front of a word that Python keeps to itself.
_DASH, _KEYWORD = "\u203f\u203f", "K\u203f"
_CONSTANTS: _Values = {"true": True, "false": False, "null": None}


class When(StrEnum):
    """What can happen to a node."""

    STARTING = "node-starting"
    COMPLETE = "node-complete"
    ERROR = "node-error"


class Then(StrEnum):
    """What can be done about it."""

    NOOP = "noop"
    STOP = "stop-pipeline"
    FAIL = "error-pipeline"
    APPROVAL = "require-approval"


@dataclass(frozen=True, slots=True)
class Action:
    """What to do when something happens.

    Attributes:
        when: On which of these.
        conditions: Expressions that must all hold; none: always.
        then: What to do, in this order.
    """

    when: frozenset[When]
    conditions: tuple[str, ...]
    then: tuple[Then, ...]


@dataclass(frozen=True, slots=True)
class Fired:
    """Something an action asks for.

    Attributes:
        then: What.
        why: For people: when, and the conditions that held.
    """

    then: Then
    why: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the actions of a node come to.

    Attributes:
        fired: What they ask for, in the file's order.
        notes: Conditions that could not be evaluated, and why, a line each; they do not hold.
    """

    fired: tuple[Fired, ...] = ()
    notes: tuple[str, ...] = ()


def parse_action(when: Sequence[str], conditions: Sequence[str], then: Sequence[str]) -> Action:
    """Read an action.

    Raises:
        InvalidInputError: A word is none of those known, or a condition is no expression.
    """
    for condition in conditions:
        _names(condition)
    return Action(
        when=frozenset(_known(When, each, "when") for each in when),
        conditions=tuple(conditions),
        then=tuple(_known(Then, each, "then") for each in then),
    )


def warnings_of(action: Action) -> Iterator[str]:
    """Yield what makes a condition never hold: a name that stands for nothing."""
    for condition in action.conditions:
        for name in _names(condition):
            if name[0] not in ("metadata", "parameter") and name[0] not in _CONSTANTS:
                yield (
                    f"condition {condition!r} never holds: {'.'.join(name)!r} is neither "
                    "metadata.NAME nor parameter.NAME"
                )


def evaluate(
    actions: Sequence[Action],
    when: When,
    *,
    metadata: Mapping[str, Any],
    parameters: Mapping[str, Any],
) -> Verdicts:
    """Tell what the actions ask for now.

    Args:
        actions: The node's actions.
        when: What happens to the node.
        metadata: The last value of everything it printed.
        parameters: The values it runs with.
    """
    values = _CONSTANTS.copy()
    values.update(_flat(("metadata",), metadata))
    values.update(_flat(("parameter",), parameters))
    fired: list[Fired] = []
    notes: list[str] = []
    for action in actions:
        if when in action.when and _holds(action, values, notes):
            why = " and ".join([str(when), *action.conditions])
            fired += [Fired(then, why) for then in action.then]
    return Verdicts(tuple(fired), tuple(notes))


def holds(condition: str, *, metadata: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Tell whether a single condition holds; one that can't be evaluated does not."""
    action = Action(frozenset([When.COMPLETE]), (condition,), (Then.NOOP,))
    verdicts = evaluate([action], When.COMPLETE, metadata=metadata, parameters=parameters)
    return bool(verdicts.fired)


def check_condition(condition: str) -> None:
    """Check that a condition is an expression.

    Raises:
        InvalidInputError: It is none.
    """
    _names(condition)


def _known(words: type[When | Then], written: str, key: str) -> Any:
    try:
        return words(written.lower())
    except ValueError as error:
        known = ", ".join(words)
        raise InvalidInputError(
            f"{written!r} is no {key!r} of an action", hint=f"Known: {known}."
        ) from error


def _holds(action: Action, values: _Values, notes: list[str]) -> bool:
    for condition in action.conditions:
        try:
            if not CommonBooleanEvaluator().evaluate(condition, values):
                return False
        except NoSuchValue as error:
            notes.append(f"condition {condition!r} does not hold: {_readable(str(error))}")
            return False
        except Exception as error:  # noqa: BLE001 - whatever operators do with whatever was printed
            notes.append(f"condition {condition!r} can't be evaluated: {_readable(str(error))}")
            return False
    return True


def _flat(
    path: tuple[str, ...], values: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values below `path`; `a.b` is a key with a dot as well as a key in an object."""
    for key, value in values.items():
        here = (*path, *str(key).split("."))
        if isinstance(value, Mapping):
            yield from _flat(here, cast("Mapping[str, Any]", value))
        yield here, value


class _Recorder(VerifierUniverse):
    """Accepts every name and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[tuple[str, ...]] = []

    def get_value(self, name: str | tuple[str, ...]) -> Any:
        self.names.append((name,) if isinstance(name, str) else name)
        return True


def _names(condition: str) -> list[tuple[str, ...]]:
    recorder = _Recorder()
    language = CommonBooleanEvaluator
    try:
        language.evaluator_class(recorder, max_depth=language.max_depth).evaluate_expression(
            condition
        )
    except Exception as error:
        raise InvalidInputError(
            f"A condition is no expression ({error})",
            subject=condition,
            hint="Write one as in metadata.accuracy >= 0.9.",
        ) from error
    return [tuple(_readable(part) for part in name) for name in recorder.names]


def _readable(text: str) -> str:
    return text.replace(_DASH, "-").replace(_KEYWORD, "")
