"""The nodes and edges of a pipeline: what leads where, and what about it can't be right.

An edge leads from `node.type.key` to `node.type.key`. The types that Valohai's own pages write in
the plural mean the same; keys keep their dots and slashes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.reading.names import suggest

SocketType = Literal[
    "output", "input", "parameter", "metadata", "environment-variable", "dependency"
]

# `file` is a file of a deployment's endpoint; on an execution it is what the edge's side makes it.
_SOURCES: dict[str, SocketType] = {
    "output": "output",
    "file": "output",
    "input": "input",
    "parameter": "parameter",
    "metadata": "metadata",
    "environment-variable": "environment-variable",
    "dependency": "dependency",
}
_TARGETS: dict[str, SocketType] = {
    "input": "input",
    "file": "input",
    "parameter": "parameter",
    "environment-variable": "environment-variable",
    "dependency": "dependency",
}
_PLURALS = {"dependencies": "dependency"}
_CARRIES: frozenset[tuple[SocketType, SocketType]] = frozenset(
    {
        ("output", "input"),
        ("input", "input"),
        ("parameter", "parameter"),
        ("metadata", "parameter"),
        ("environment-variable", "environment-variable"),
    }
)


class OnError(StrEnum):
    """What becomes of the pipeline when a node fails."""

    STOP_ALL = "stop-all"
    STOP_NEXT = "stop-next"
    CONTINUE = "continue"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Socket:
    """One end of an edge.

    Attributes:
        node: Name of the node.
        type: What is taken or given there.
        key: Its name, or a pattern of paths for an output.
    """

    node: str
    type: SocketType
    key: str

    def __str__(self) -> str:
        return f"{self.node}.{self.type}.{self.key}"


@dataclass(frozen=True, slots=True)
class Edge:
    """What one node hands over to another."""

    source: Socket
    target: Socket

    @property
    def is_order(self) -> bool:
        """Whether it hands over nothing: the target just comes later."""
        return "dependency" in (self.source.type, self.target.type)

    def __str__(self) -> str:
        return f"[{self.source}, {self.target}]"


@dataclass(frozen=True, slots=True)
class Declared:
    """What a step declares, as far as edges ask: the names of its inputs and parameters."""

    inputs: Collection[str] = ()
    parameters: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a pipeline that is wrong, or worth a look.

    Attributes:
        keys: Where in the pipeline's mapping.
        message: What, without a full stop.
        hint: What to do now, as a sentence; may be empty.
    """

    keys: tuple[str | int, ...]
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Which node comes after which.

    Attributes:
        nodes: Names of the nodes, in the file's order.
        edges: What they hand over, in the file's order.
    """

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...] = ()

    def into(self, node: str) -> tuple[Edge, ...]:
        """Return the edges that end at a node."""
        return tuple(edge for edge in self.edges if edge.target.node == node)

    def sources(self, node: str) -> frozenset[str]:
        """Return the nodes that a node comes directly after."""
        return frozenset(edge.source.node for edge in self.into(node))


def parse_edge(source: str, target: str) -> Edge:
    """Read the two ends of an edge.

    Raises:
        InvalidInputError: An end is not `node.type.key`, or nothing leads from the one type to the
            other.
    """
    edge = Edge(_socket(source, _SOURCES, "source"), _socket(target, _TARGETS, "target"))
    if not edge.is_order and (edge.source.type, edge.target.type) not in _CARRIES:
        raise InvalidInputError(
            f"No edge leads from {_with_article(edge.source.type)} to "
            f"{_with_article(edge.target.type)}",
            subject=f"[{source}, {target}]",
        )
    return edge


def parse_target(text: str) -> Socket:
    """Read a target of a pipeline parameter: `node.parameter.name`.

    Raises:
        InvalidInputError: It is something else.
    """
    socket = _socket(text, _TARGETS, "target")
    if socket.type != "parameter":
        raise InvalidInputError(
            "A pipeline parameter can only fill parameters of nodes",
            subject=text,
            hint="Write node.parameter.name.",
        )
    return socket


def matches(pattern: str, path: str) -> bool:
    """Tell whether an edge's pattern is about a path: `*` stands for anything, `/` too.

    A pattern that is the path itself always is, whatever characters it has.
    """
    return pattern == path or _expression(pattern).fullmatch(path) is not None


def findings(graph: Graph, declared: Mapping[str, Declared]) -> Iterator[Finding]:
    """Yield what can't be right: unknown ends, a parameter filled twice, a circle.

    Args:
        graph: The graph.
        declared: What each node's step declares; nodes that are not named are not looked into.
    """
    yield from _doubles(graph.nodes)
    for index, edge in enumerate(graph.edges):
        for message in _unknown_ends(edge, graph, declared):
            yield Finding(("edges", index), f"edge {edge}: {message}")
    yield from _filled_twice(graph.edges)
    yield from _circle(graph)


def _socket(text: str, types: Mapping[str, SocketType], side: str) -> Socket:
    parts = text.split(".", 2)
    if len(parts) != 3 or not all(parts):
        raise InvalidInputError(
            f"The {side} of an edge is not node.type.key",
            subject=text,
            hint="Write it as in train.output.model*.",
        )
    node, written, key = parts
    singular = _PLURALS.get(written, written if written in types else written.removesuffix("s"))
    if singular not in types:
        known = ", ".join(name for name in types if name != "file")
        raise InvalidInputError(
            f"{written!r} is no type that a {side} can have", subject=text, hint=f"Known: {known}."
        )
    return Socket(node, types[singular], key)


def _expression(pattern: str) -> re.Pattern[str]:
    pieces = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile("".join(pieces), re.DOTALL)


def _doubles(nodes: Sequence[str]) -> Iterator[Finding]:
    for name, times in Counter(nodes).items():
        if times > 1:
            last = len(nodes) - 1 - nodes[::-1].index(name)
            yield Finding(("nodes", last), f"{times} nodes have the name {name!r}")


def _unknown_ends(edge: Edge, graph: Graph, declared: Mapping[str, Declared]) -> Iterator[str]:
    for end in (edge.source, edge.target):
        if end.node not in graph.nodes:
            yield f"there is no node {end.node!r}. {suggest(end.node, graph.nodes)}"
        elif not edge.is_order and end.node in declared:
            yield from _undeclared(edge, end, declared[end.node])


def _undeclared(edge: Edge, end: Socket, step: Declared) -> Iterator[str]:
    names = {"input": step.inputs, "parameter": step.parameters}.get(end.type)
    if names is None:
        return
    # An edge may take several inputs by a pattern, but gives to one.
    is_known = end.key in names or (
        end == edge.source and any(matches(end.key, name) for name in names)
    )
    if not is_known:
        yield f"the step of {end.node!r} has no {end.type} {end.key!r}. {suggest(end.key, names)}"


def _filled_twice(edges: Sequence[Edge]) -> Iterator[Finding]:
    """Yield the second edge to what only one can fill; to an input there can be many."""
    filled: set[Socket] = set()
    for index, edge in enumerate(edges):
        if edge.target in filled:
            yield Finding(("edges", index), f"another edge fills {edge.target}, and only one can")
        if edge.target.type in ("parameter", "environment-variable"):
            filled.add(edge.target)


def _circle(graph: Graph) -> Iterator[Finding]:
    after = {
        node: {source for source in graph.sources(node) if source in graph.nodes}
        for node in graph.nodes
    }
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        yield Finding(("edges",), f"the edges go in a circle: {' -> '.join(error.args[1])}")


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
