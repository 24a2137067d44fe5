"""What valohai-yaml's own checks say of a file, each with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from valohai_yaml import objs
from valohai_yaml.lint import LintResult
from valohai_yaml.objs.pipelines.edge import Edge

from prefect_datasets.valohai.reading.document import Document, list_of, mapping_of
from prefect_datasets.valohai.reading.faults import Fault, place, refuse
from prefect_datasets.valohai.reading.names import suggest

Kind = Literal["step", "pipeline", "task", "endpoint", "deployment"]

# What has checks of its own in an item.
_PARTS: dict[Kind, tuple[str, ...]] = {
    "step": ("parameters",),
    "pipeline": ("nodes", "edges", "parameters"),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the file.

    Attributes:
        kind: What it is.
        name: Its name.
        index: Its place in the file's list.
        raw: Its mapping, normalised and otherwise as written.
        parsed: The same as valohai-yaml's object.
    """

    kind: Kind
    name: str
    index: int
    raw: Mapping[str, Any]
    parsed: Any


def parse_items(document: Document) -> Iterator[Item]:
    """Parse the items one by one, so that a fault has a line."""
    parsers = objs.Config.get_top_level_parsers()
    faults: list[Fault] = []
    for index, datum in enumerate(document.data):
        kind = next((key for key in parsers if key in datum), None)
        if kind is None:
            continue
        try:
            parsed = parsers[kind][1](datum[kind])
        except Exception as error:  # noqa: BLE001 - valohai-yaml lets all sorts of errors out
            faults.append(_parse_fault(error, document, index, kind))
        else:
            yield Item(kind, parsed.name, index, datum[kind], parsed)  # pyright: ignore[reportArgumentType] - a key of `parsers`
    if faults:
        raise refuse(document, faults)


def _parse_fault(error: Exception, document: Document, index: int, kind: str) -> Fault:
    what = str(error) if isinstance(error, ValueError | TypeError) else repr(error)
    keys = [index, kind, *_broken_edge(document.data[index][kind])]
    what = f"{place(document.data, keys)} can't be read ({what.rstrip('.')})"
    return Fault(document.line(*keys), what, "Correct it.")


def _broken_edge(raw: Any) -> list[str | int]:
    """Return the keys of the first edge that can't be read, if that is what is wrong."""
    for index, edge in enumerate(list_of(mapping_of(raw).get("edges"))):
        try:
            Edge.parse(edge)
        except ValueError:
            return ["edges", index]
    return []


# Index of the item that a warning is about, or None where it is about none.
Warnings = tuple[tuple[int | None, Fault], ...]


def lint(document: Document, parsed: objs.Config, items: Sequence[Item]) -> Warnings:
    """Check what the schema can't: references, expressions, defaults.

    Returns:
        What is worth a look.

    Raises:
        InvalidInputError: Something is wrong; every fault has its line.
    """
    found = [
        (item.index, *message) for item in items for message in _messages(item, parsed, document)
    ]
    if errors := [fault for _, severity, fault in found if severity == "error"]:
        raise refuse(document, errors)
    own = [*_repeated_keys(document), *_unknown_items(document), *_twins(document, items)]
    return (*own, *((index, fault) for index, _, fault in found))


def _messages(item: Item, parsed: objs.Config, document: Document) -> Iterator[tuple[str, Fault]]:
    """Yield what an item's checks say, at the part that says it, else at the item."""
    context: dict[str, Any] = {"config": parsed, "object_type": item.kind, item.kind: item.parsed}
    said: set[str] = set()
    for keys, part in _parts(item):
        for severity, message in _lint(part, context):
            said.add(message)
            yield severity, Fault(document.line(item.index, item.kind, *keys), message)
    for severity, message in _lint(item.parsed, context):
        if message not in said:
            yield severity, Fault(document.line(item.index, item.kind), message)


def _parts(item: Item) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield what has checks of its own, with the keys that lead to it."""
    for key in _PARTS.get(item.kind, ()):
        parsed = getattr(item.parsed, key)
        for index, raw in enumerate(item.raw.get(key, ())):
            yield (key, index), parsed[raw["name"] if isinstance(parsed, dict) else index]


def _lint(part: Any, context: dict[str, Any]) -> Iterator[tuple[str, str]]:
    result = LintResult()
    try:
        part.lint(result, context)
    except Exception as error:  # noqa: BLE001 - some of its checks fail at what they look for
        yield "error", f"This can't be read ({type(error).__name__}: {error})"
    for message in result.messages:
        yield message["type"], message["message"].rstrip(".")


# -- what valohai-yaml does not tell, or without a line ------------------------------------------


def _repeated_keys(document: Document) -> Iterator[tuple[None, Fault]]:
    for key, line in document.repeated:
        yield None, Fault(line, f"The key {key!r} stands here a second time; this one counts")


def _unknown_items(document: Document) -> Iterator[tuple[None, Fault]]:
    kinds = list(objs.Config.get_top_level_parsers())
    for index, datum in enumerate(document.data):
        if not any(kind in datum for kind in kinds):
            first = str(next(iter(datum), ""))
            yield (
                None,
                Fault(document.line(index), f"Unknown item {first!r}", suggest(first, kinds)),
            )


def _twins(document: Document, items: Sequence[Item]) -> Iterator[tuple[int, Fault]]:
    """Warn of every item whose name an earlier one has."""
    seen: set[tuple[Kind, str]] = set()
    for item in items:
        if (item.kind, item.name) in seen:
            message = f"Another {item.kind} has the name {item.name!r}"
            yield item.index, Fault(document.line(item.index), message, "Give it one of its own.")
        seen.add((item.kind, item.name))
