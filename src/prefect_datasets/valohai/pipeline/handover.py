"""What the edges hand a node, once the nodes before it have ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.graph import Edge, Socket, matches
from prefect_datasets.valohai.pipeline.status import Status
from prefect_datasets.valohai.plan import Outcome, Output, StepPlan

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one execution.

    Attributes:
        plan: What ran.
        outcome: What came of it; None where it never began.
    """

    plan: StepPlan
    outcome: Outcome | None = None

    @property
    def is_ok(self) -> bool:
        """Whether it succeeded."""
        return self.outcome is not None and self.outcome.error is None


@dataclass(frozen=True, slots=True)
class EndedNode:
    """What became of a node.

    Attributes:
        name: Its name.
        status: How it ended.
        executions: Its executions, in order.
    """

    name: str
    status: Status
    executions: tuple[Ended, ...] = ()

    @property
    def telling(self) -> list[Ended]:
        """The executions that others go by: those that succeeded, else all that ran."""
        good = [each for each in self.executions if each.is_ok]
        return good or [each for each in self.executions if each.outcome is not None]


@dataclass(frozen=True, slots=True)
class Handed:
    """What edges bring to a node.

    Attributes:
        parameters: Values by parameter.
        inputs: URIs by input, also where there are none.
        environment: Variables by name.
        notes: What people should know, a line each.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()


def hand_over(
    edges: Sequence[Edge],
    ended: Mapping[str, EndedNode],
    *,
    may_be_empty: Iterable[str] = (),
    may_collide: Iterable[str] = (),
) -> Handed:
    """Collect what the edges into a node bring.

    Args:
        edges: All that lead to the node.
        ended: The nodes they come from.
        may_be_empty: Inputs for which it is right that no file comes.
        may_collide: Inputs whose files lie in folders, so that two can have one name.

    Raises:
        InvalidInputError: An edge brings nothing, or two files that would lie in one place.
    """
    parameters: dict[str, Any] = {}
    environment: dict[str, str] = {}
    notes: list[str] = []
    for edge in edges:
        if edge.is_order or edge.target.type == "input":
            continue
        source = ended[edge.source.node]
        value = _value(edge, source)
        if value is None:
            _tell_of_nothing(edge, source, notes)
        elif edge.target.type == "parameter":
            parameters[edge.target.key] = value
        else:
            environment[edge.target.key] = str(value)
    inputs: dict[str, tuple[str, ...]] = {}
    for target, brought in _by_input(edges).items():
        if target not in frozenset(may_collide):
            _check_places(target, brought, ended)
        uris = tuple(_uris(brought, ended, notes))
        if not uris and target not in frozenset(may_be_empty) and not _has_failed(brought, ended):
            raise _no_file(target, brought, ended)
        inputs[target] = uris
    return Handed(parameters, inputs, environment, tuple(notes))


def _by_input(edges: Iterable[Edge]) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = {}
    for edge in edges:
        if edge.target.type == "input" and not edge.is_order:
            found.setdefault(edge.target.key, []).append(edge)
    return found


# -- values --------------------------------------------------------------------------------------


def _value(edge: Edge, source: EndedNode) -> Any:
    """Return what an edge to a parameter or variable brings, or None.

    Executions of a task that differ bring a list of what each has.
    """
    found = [value for value in _values(edge.source, source) if value is not None]
    if not found or all(value == found[0] for value in found):
        return found[0] if found else None
    return found


def _values(socket: Socket, source: EndedNode) -> Iterator[Any]:
    if socket.type == "parameter":
        yield from (each.plan.parameters.get(socket.key) for each in source.executions)
    elif socket.type == "environment-variable":
        yield from (each.plan.environment.get(socket.key) for each in source.executions)
    else:
        for each in source.telling:
            yield _metadata(each.outcome.metadata if each.outcome else {}, socket.key)


def _metadata(values: Mapping[str, Any], key: str) -> Any:
    """Return the last value that was printed under `key`; `a.b` may be a key in an object."""
    if key in values:
        return values[key]
    first, dot, rest = key.partition(".")
    inner = values.get(first)
    if dot and isinstance(inner, Mapping):
        return _metadata(cast("Mapping[str, Any]", inner), rest)
    return None


def _tell_of_nothing(edge: Edge, source: EndedNode, notes: list[str]) -> None:
    """Note that an edge brings nothing; where it should have, that is an error."""
    if edge.source.type != "metadata" or source.status is Status.FAILED:
        notes.append(f"edge {edge} brings nothing: {edge.source} has no value")
        return
    printed = sorted(
        {key for each in source.telling if each.outcome for key in each.outcome.metadata}
    )
    raise InvalidInputError(
        f"Node {source.name!r} printed no metadata {edge.source.key!r}",
        subject=f"edge {edge}",
        hint=f"It printed {_some(printed)}.",
    )


# -- files ---------------------------------------------------------------------------------------


def _uris(
    edges: Sequence[Edge], ended: Mapping[str, EndedNode], notes: list[str]
) -> dict[str, None]:
    """Return the URIs that edges bring to an input, each once."""
    found: dict[str, None] = {}
    for edge in edges:
        brought = list(_brought(edge.source, ended[edge.source.node]))
        if not brought:
            notes.append(f"edge {edge} brings no file")
        found |= dict.fromkeys(brought)
    return found


def _has_failed(edges: Iterable[Edge], ended: Mapping[str, EndedNode]) -> bool:
    return any(ended[edge.source.node].status is Status.FAILED for edge in edges)


def _brought(socket: Socket, source: EndedNode) -> Iterator[str]:
    for each in source.telling:
        outcome = each.outcome
        if outcome is None:
            continue
        if socket.type == "output":
            yield from (f"datum://{output.datum}" for output in _outputs(socket.key, outcome))
        else:
            for name, uris in outcome.inputs.items():
                if matches(socket.key, name):
                    yield from uris


def _outputs(pattern: str, outcome: Outcome) -> list[Output]:
    """Return the outputs that a pattern is about; of several at one path the last."""
    found = {output.path: output for output in outcome.outputs if matches(pattern, output.path)}
    return list(found.values())


def _check_places(target: str, edges: Iterable[Edge], ended: Mapping[str, EndedNode]) -> None:
    """See that no two files would lie in one place: what edges bring lies in one folder.

    Raises:
        InvalidInputError: Two would.
    """
    places: dict[str, tuple[str, str]] = {}
    for edge in edges:
        if edge.source.type != "output":
            continue
        for where, output in _with_origin(edge.source, ended[edge.source.node]):
            name = output.path.rpartition("/")[2]
            before = places.setdefault(name, (output.datum, where))
            if before[0] != output.datum:
                raise InvalidInputError(
                    f"Two files would both be {name!r} in input {target!r}",
                    subject=f"{before[1]} and {where}",
                    hint="Give each a name of its own, or set keep-directories on the input.",
                )


def _with_origin(socket: Socket, source: EndedNode) -> Iterator[tuple[str, Output]]:
    is_task = len(source.executions) > 1
    for number, each in enumerate(source.executions, 1):
        if each.outcome is None or each not in source.telling:
            continue
        origin = f"{source.name}/{number}" if is_task else source.name
        for output in _outputs(socket.key, each.outcome):
            yield f"{output.path} of {origin}", output


def _no_file(
    target: str, edges: Sequence[Edge], ended: Mapping[str, EndedNode]
) -> InvalidInputError:
    there = sorted(
        {
            output.path
            for edge in edges
            for each in ended[edge.source.node].telling
            for output in (each.outcome.outputs if each.outcome else ())
        }
    )
    sources = ", ".join(dict.fromkeys(repr(edge.source.node) for edge in edges))
    return InvalidInputError(
        f"No edge brings a file to input {target!r}",
        subject=", ".join(f"edge {edge}" for edge in edges),
        hint=f"{sources} wrote {_some(there)}. Correct the pattern, or make the input optional.",
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (", ".join(names[:_MOST_NAMED]) or "nothing") + more
