"""Patterns over paths in a version, the same on every file system and store.

    *      any characters within one level        cats/*.jpg
    **     any characters across levels           **.csv, **/*.csv, cats/**
    ?      one character within one level
    [ab]   one of these characters, [!ab] none of them, [a-f] a range
    cats/  everything below the folder

Names that begin with a dot match like any other. A pattern that is a path matches that path even
where it holds `*`, `?` or `[`, so names such as `img[1].jpg` can be written as they are.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from prefect_datasets.core import compute as pc
from prefect_datasets.core.columns import strings
from prefect_datasets.core.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPECIAL = re.compile(r"[*?\[]|/$")

# RE2 compiles an alternation into one automaton of bounded size; this many patterns stay below it.
_PATTERNS_AT_ONCE = 50

_BEFORE_SLASH, _AFTER_SLASH = ".", "0"  # the characters beside "/", to cut a range around it


class Globs:
    """Patterns, any of which may match.

    Args:
        patterns: The patterns, or one alone.
        literal: Those among them that are plain paths, whatever characters they hold.

    Raises:
        InvalidInputError: A pattern is empty, or has a range that runs backwards.
    """

    def __init__(self, patterns: Iterable[str] | str, *, literal: Iterable[str] = ()) -> None:
        given = (patterns,) if isinstance(patterns, str) else patterns
        self.patterns: tuple[str, ...] = tuple(dict.fromkeys(given))
        paths = frozenset(literal)
        self._expressions = {
            pattern: translate(pattern)
            for pattern in self.patterns
            if pattern not in paths and (not pattern or _SPECIAL.search(pattern))
        }

    def match(self, path: str) -> bool:
        """Tell whether any pattern matches `path`."""
        return path in self._literals or self._compiled.fullmatch(path) is not None

    def filter(self, paths: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """Return a mask over `paths`: true where any pattern matches."""
        mask = pc.is_in(paths, value_set=strings(self.patterns).cast(paths.type))
        expressions = list(self._expressions.values())
        for start in range(0, len(expressions), _PATTERNS_AT_ONCE):
            together = "|".join(expressions[start : start + _PATTERNS_AT_ONCE])
            found = pc.match_substring_regex(paths, f"(?s)^(?:{together})$")
            mask = pc.or_(mask, found)
        return mask

    def settled(self, paths: pa.Array | pa.ChunkedArray) -> Globs:
        """Return the same patterns, those that name one of `paths` taken as that path alone.

        So `img[1].jpg` drops the file of that name and leaves `img1.jpg` alone.
        """
        names = strings(self.patterns).cast(paths.type)
        here = names.filter(pc.is_in(names, value_set=paths))
        return Globs(self.patterns, literal=here.to_pylist())

    def unmatched(self, paths: pa.Array | pa.ChunkedArray) -> tuple[str, ...]:
        """Return the patterns that match none of `paths`, in the order given."""
        names = strings(self.patterns).cast(paths.type)
        absent = names.filter(pc.invert(pc.is_in(names, value_set=paths))).to_pylist()
        return tuple(pattern for pattern in absent if not self._matches_any(pattern, paths))

    @cached_property
    def _literals(self) -> frozenset[str]:
        return frozenset(self.patterns)

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        # With no pattern left the expression is empty and matches the empty path, which is none.
        return re.compile("|".join(self._expressions.values()), re.DOTALL)

    def _matches_any(self, pattern: str, paths: pa.Array | pa.ChunkedArray) -> bool:
        expression = self._expressions.get(pattern)
        if expression is None:
            return False
        return bool(pc.any(pc.match_substring_regex(paths, f"(?s)^(?:{expression})$")).as_py())


def translate(pattern: str) -> str:
    """Return `pattern` as a regular expression that RE2 and Python read alike.

    Raises:
        InvalidInputError: The pattern is empty, or has a range that runs backwards.
    """
    if not pattern:
        raise InvalidInputError("A pattern is empty", hint="Write ** for every file.")
    if pattern.endswith("/"):
        pattern += "**"
    out: list[str] = []
    at = 0
    while at < len(pattern):
        expression, at = _next_token(pattern, at)
        out.append(expression)
    return "".join(out)


def _next_token(pattern: str, at: int) -> tuple[str, int]:
    """Return the expression for the token at `at`, and where the next one begins."""
    character = pattern[at]
    if character == "*":
        return _stars(pattern, at)
    if character == "?":
        return "[^/]", at + 1
    # "]" right after the opening, or after "!", is a member of the class.
    if character == "[" and (end := pattern.find("]", at + 2 + (pattern[at + 1 :][:1] == "!"))) > 0:
        return _character_class(pattern, pattern[at + 1 : end]), end + 1
    return re.escape(character), at + 1


def _stars(pattern: str, at: int) -> tuple[str, int]:
    end = at
    while pattern[end : end + 1] == "*":
        end += 1
    if end - at == 1:
        return "[^/]*", end
    begins_level = at == 0 or pattern[at - 1] == "/"
    if begins_level and pattern[end : end + 1] == "/":
        return "(?:.*/)?", end + 1  # no level at all counts too: **/*.csv matches a.csv
    return ".*", end


def _character_class(pattern: str, body: str) -> str:
    negated = body.startswith("!")
    body = body[negated:]
    parts: list[str] = []
    at = 0
    while at < len(body):
        if body[at + 1 : at + 2] == "-" and at + 2 < len(body):
            parts += _range(pattern, body[at], body[at + 2])
            at += 3
        else:
            parts += [re.escape(body[at])] if body[at] != "/" else []
            at += 1
    if negated:
        return f"[^/{''.join(parts)}]"
    return f"[{''.join(parts)}]" if parts else r"[^\s\S]"  # only "/" was named: matches nothing


def _range(pattern: str, first: str, last: str) -> list[str]:
    """Return a range of characters, cut around the slash, which no class matches."""
    if first > last:
        raise InvalidInputError(
            f"The range {first}-{last} runs backwards",
            subject=pattern,
            hint=f"Write [{last}-{first}].",
        )
    if not first <= "/" <= last:
        return [f"{re.escape(first)}-{re.escape(last)}"]
    pieces = [(first, _BEFORE_SLASH), (_AFTER_SLASH, last)]
    return [f"{re.escape(low)}-{re.escape(high)}" for low, high in pieces if low <= high]
