"""A `valohai.yaml`: parsed and checked by valohai-yaml, its faults told with their lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from valohai_yaml import objs, parse
from valohai_yaml.validation import get_validator

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.reading.document import Document, read_document
from prefect_datasets.valohai.reading.faults import Fault, refuse, schema_fault
from prefect_datasets.valohai.reading.lint import Item, Kind, Warnings, lint, parse_items
from prefect_datasets.valohai.reading.names import match, suggest
from prefect_datasets.valohai.reading.normalise import normalised


@dataclass(frozen=True, slots=True)
class Config:
    """A `valohai.yaml` that can be used.

    Attributes:
        document: The file.
        parsed: All of it as valohai-yaml's object.
        items: Its items, in the file's order; of two with one name both.
        warnings: What is worth a look, by item; None for what belongs to no item.
    """

    document: Document
    parsed: objs.Config
    items: tuple[Item, ...]
    warnings: Warnings

    @property
    def path(self) -> Path:
        """The file."""
        return self.document.path

    def names(self, kind: Kind) -> list[str]:
        """Return the names of all items of a kind, in the file's order."""
        return [item.name for item in self.items if item.kind == kind]

    def step(self, name: str) -> objs.Step:
        """Return a step.

        Raises:
            InvalidInputError: There is none of the name, or there are two.
        """
        return self.find("step", name).parsed

    def pipeline(self, name: str) -> objs.Pipeline:
        """Return a pipeline; raises as `step` does."""
        return self.find("pipeline", name).parsed

    def raw(self, kind: Kind, name: str) -> Mapping[str, Any]:
        """Return an item's mapping as it stands in the file; raises as `step` does."""
        return self.find(kind, name).raw

    def where(self, kind: Kind, name: str, *keys: str | int) -> str:
        """Return `file:line` of an item, or of what `keys` lead to in it."""
        item = self.find(kind, name)
        return self.document.where(item.index, kind, *keys)

    def find(self, kind: Kind, name: str) -> Item:
        """Return an item; raises as `step` does."""
        meant = match(name, set(self.names(kind)))
        found = [item for item in self.items if item.kind == kind and item.name == meant]
        if not found:
            raise InvalidInputError(
                f"No such {kind} {name!r}",
                subject=str(self.path),
                hint=suggest(name, self.names(kind)),
            )
        if len(found) > 1:
            lines = [str(self.document.line(item.index)) for item in found]
            raise InvalidInputError(
                f"Several {kind}s have the name {meant!r}, on lines {', '.join(lines)}",
                subject=str(self.path),
                hint="Give each a name of its own.",
            )
        return found[0]

    def warnings_about(self, kind: Kind, name: str) -> tuple[str, ...]:
        """Return what is worth a look at an item and at the file as a whole, a line each."""
        index = self.find(kind, name).index
        return tuple(
            f"{self.path}:{fault.line}: {fault}"
            for about, fault in self.warnings
            if about in (None, index)
        )


def load(path: str | Path) -> Config:
    """Read a `valohai.yaml`, or the one in a folder.

    Raises:
        NotFoundError: There is no such file.
        InvalidInputError: Something in it is wrong; every fault has its line.
    """
    document = read_document(Path(path))
    document = replace(document, data=normalised(document.data))
    if faults := _schema_faults(document):
        raise refuse(document, faults)
    items = tuple(parse_items(document))
    parsed = parse(document.data, validate=False)
    return Config(document, parsed, items, lint(document, parsed, items))


def _schema_faults(document: Document) -> list[Fault]:
    validator: Any = get_validator()  # jsonschema's types are only half there
    return [schema_fault(error, document) for error in validator.iter_errors(document.data)]
