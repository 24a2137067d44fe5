"""The text of a `valohai.yaml`: its values, and the line each stands on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from prefect_datasets.core.errors import InvalidInputError, NotFoundError
from prefect_datasets.valohai.reading.names import suggest

FILE_NAME = "valohai.yaml"
_ALIASES = {"pipeline": "blueprint"}


class _Loader(yaml.SafeLoader):
    """Reads dates as the text they are: a parameter's default `2024-01-31` is meant as written."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Document:
    """A file's values and where they stand.

    Attributes:
        path: The file.
        data: Its values; None for an empty file.
        repeated: Keys that stand twice in one mapping, with their lines; the later one counts.
        root: The nodes that the values were made of.
    """

    path: Path
    data: Any
    repeated: tuple[tuple[str, int], ...]
    root: yaml.Node | None

    def where(self, *keys: str | int) -> str:
        """Return `file:line` of the value at `keys`, or of the nearest there is around it."""
        return f"{self.path}:{self.line(*keys)}"

    def line(self, *keys: str | int) -> int:
        """Return the line of the value at `keys`, counted from 1."""
        node, line = self.root, 1
        for key in keys:
            if (found := _child(node, key)) is None:
                break
            line, node = found
        return line


def read_document(path: Path) -> Document:
    """Read a YAML file; for a folder the `valohai.yaml` in it.

    Raises:
        NotFoundError: There is none.
        InvalidInputError: It is no YAML; the line is named.
    """
    path = path / FILE_NAME if path.is_dir() else path
    text = _text(path)
    loader: Any = _Loader(text)  # PyYAML says nothing about what a loader's methods take and give
    try:
        root = loader.get_single_node()
        repeated = tuple(_repeated(root, set()))
        data = loader.construct_document(root) if root is not None else None
    except yaml.YAMLError as error:
        raise _syntax_error(path, error) from error
    except (RecursionError, ValueError) as error:  # an int or a float that is none, such as 0x_
        raise InvalidInputError(
            f"This file can't be read ({error})", subject=str(path), hint="Write plain YAML."
        ) from error
    finally:
        loader.dispose()
    return Document(path, data, repeated, root)


def mapping_of(value: Any) -> dict[str, Any]:
    """Return `value` itself if it is a mapping, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """Return `value` itself if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        names = sorted(file.name for file in path.parent.glob("*.y*ml"))
        there = suggest(path.name, names) if names else "Name one with -f FILE."
        raise NotFoundError("No such file", subject=str(path), hint=there) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"This file is not UTF-8 (byte {error.start})",
            subject=str(path),
            hint="Save it as UTF-8.",
        ) from error


def _syntax_error(path: Path, error: yaml.YAMLError) -> InvalidInputError:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return InvalidInputError(
            f"This is no YAML ({str(error).splitlines()[0]})",
            subject=str(path),
            hint="Remove what YAML does not allow.",
        )
    mark = error.problem_mark
    return InvalidInputError(
        f"This is no YAML: {error.problem}{_context(error)}",
        subject=f"{path}:{mark.line + 1}:{mark.column + 1}",
        hint=_syntax_hint(error.problem or ""),
    )


def _context(error: yaml.MarkedYAMLError) -> str:
    if not error.context:
        return ""
    begun = f" that began on line {error.context_mark.line + 1}" if error.context_mark else ""
    return f" ({error.context}{begun})"


def _syntax_hint(problem: str) -> str:
    if r"'\t'" in problem:
        return "Indent with spaces: YAML allows no tabs."
    if "mapping values are not allowed" in problem or "expected <block end>" in problem:
        return (
            "Align the line with its neighbours, and put text with `: `, `#` or a brace at its "
            "beginning into quotes."
        )
    return "Put text with special characters into quotes."


def _child(node: yaml.Node | None, key: str | int) -> tuple[int, yaml.Node] | None:
    """Return the line and the node that `key` leads to; the line of a key is where it stands."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
        items = cast("list[yaml.Node]", node.value)
        return (_line(items[key]), items[key]) if key < len(items) else None
    for name, value in reversed(_pairs(node)):
        if name.value in (key, _ALIASES.get(str(key))):
            return _line(name), value
    return None


def _repeated(node: yaml.Node | None, seen: set[int]) -> Iterator[tuple[str, int]]:
    """Yield the keys that stand twice in a mapping; PyYAML drops the first without a word."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in cast("Sequence[yaml.Node]", node.value):
            yield from _repeated(item, seen)
    names: set[str] = set()
    for name, value in _pairs(node):
        if name.value in names and name.value != "<<":
            yield name.value, _line(name)
        names.add(name.value)
        yield from _repeated(value, seen)


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
    return [(name, value) for name, value in pairs if isinstance(name, yaml.ScalarNode)]


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1
