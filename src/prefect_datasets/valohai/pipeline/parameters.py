"""Pipeline parameters, and values given for a node from outside: which node gets what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.graph import Declared, Finding, Graph, Socket
from prefect_datasets.valohai.reading.names import match, suggest


@dataclass(frozen=True, slots=True)
class PipelineParameter:
    """A value that fills parameters of several nodes.

    Attributes:
        name: Its name.
        targets: What it fills.
        default: Its value where none is given; None leaves each target its own.
    """

    name: str
    targets: tuple[Socket, ...] = ()
    default: object = None


@dataclass(frozen=True, slots=True)
class Distributed:
    """What each node is given.

    Attributes:
        parameters: Values of parameters, by node.
        inputs: URIs of inputs, by node.
    """

    parameters: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict[str, Mapping[str, object]]
    )
    inputs: Mapping[str, Mapping[str, tuple[str, ...]]] = field(
        default_factory=dict[str, Mapping[str, tuple[str, ...]]]
    )


def findings(
    parameters: Iterable[PipelineParameter], declared: Mapping[str, Declared]
) -> Iterator[Finding]:
    """Yield what can't be right about pipeline parameters: unknown nodes and parameters.

    Args:
        parameters: All of the pipeline, in the file's order.
        declared: What the step of each node declares.
    """
    for index, parameter in enumerate(parameters):
        for target in parameter.targets:
            where = f"pipeline parameter {parameter.name!r}, target {target}"
            if target.node not in declared:
                message = f"{where}: there is no node {target.node!r}"
                yield Finding(("parameters", index), message, suggest(target.node, declared))
            elif target.key not in (known := declared[target.node].parameters):
                message = f"{where}: the step of {target.node!r} has no parameter {target.key!r}"
                yield Finding(("parameters", index), message, suggest(target.key, known))


def distribute(
    graph: Graph,
    parameters: Collection[PipelineParameter],
    declared: Mapping[str, Declared],
    *,
    given_parameters: Mapping[str, object],
    given_inputs: Mapping[str, Iterable[str]],
) -> Distributed:
    """Tell which node gets what; what is given for a node goes before pipeline parameters.

    Args:
        graph: The pipeline.
        parameters: Its parameters.
        declared: What the step of each node declares.
        given_parameters: Values by pipeline parameter, or by `node.parameter`.
        given_inputs: URIs by `node.input`.

    Raises:
        InvalidInputError: Something is given for what does not exist, or what an edge fills.
    """
    named = {parameter.name: parameter for parameter in parameters}
    whole, single = dict[str, object](), dict[str, object]()
    for name, value in given_parameters.items():
        meant = match(name, named)
        (single if meant is None else whole)[meant or name] = value
    found: dict[str, dict[str, object]] = {}
    for parameter in parameters:
        value = whole.get(parameter.name, parameter.default)
        for target in parameter.targets if value is not None else ():
            found.setdefault(target.node, {})[target.key] = value
    for name, value in single.items():
        end = _end(name, graph, declared, "parameter", known=named)
        _check_not_filled(end, graph)
        found.setdefault(end.node, {})[end.key] = value
    inputs: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, uris in given_inputs.items():
        end = _end(name, graph, declared, "input", known=())
        inputs.setdefault(end.node, {})[end.key] = tuple(uris)
    return Distributed(found, inputs)


def _end(
    name: str,
    graph: Graph,
    declared: Mapping[str, Declared],
    what: str,
    *,
    known: Collection[str],
) -> Socket:
    """Find what `node.name` means."""
    node, dot, key = name.partition(".")
    meant = match(node, graph.nodes)
    if not dot or meant is None:
        raise _unknown(name, graph, what, known)
    names = declared[meant].parameters if what == "parameter" else declared[meant].inputs
    found = match(key, names)
    if found is None:
        message = f"The step of node {meant!r} has no {what} {key!r}"
        raise InvalidInputError(message, subject=name, hint=suggest(key, names))
    return Socket(meant, "parameter" if what == "parameter" else "input", found)


def _unknown(name: str, graph: Graph, what: str, known: Collection[str]) -> InvalidInputError:
    node, dot, _ = name.partition(".")
    if dot:
        message = f"The pipeline has no node {node!r}"
        return InvalidInputError(message, subject=name, hint=suggest(node, graph.nodes))
    if what == "input":
        return InvalidInputError(
            "A pipeline has no inputs of its own",
            subject=name,
            hint=f"Write NODE.{name}: the nodes are {', '.join(graph.nodes)}.",
        )
    return InvalidInputError(
        f"The pipeline has no parameter {name!r}",
        hint=f"{suggest(name, known)} A node's own is written NODE.{name}.",
    )


def _check_not_filled(end: Socket, graph: Graph) -> None:
    for edge in graph.into(end.node):
        if edge.target == end:
            raise InvalidInputError(
                "What an edge fills can't be given", subject=str(end), hint=f"The edge is {edge}."
            )
