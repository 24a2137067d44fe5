"""Names that are asked for: the one that is meant, or what there is instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable

_MOST_SHOWN = 12


def match(name: str, known: Collection[str]) -> str | None:
    """Return which of `known` is meant: `name` itself, else the one that Valohai's client means.

    Its command line writes `learning_rate` and `Learning rate` as `learning-rate`.
    """
    if name in known:
        return name
    alike = [other for other in known if _sanitized(other) == _sanitized(name)]
    return alike[0] if len(alike) == 1 else None


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which of `known` was perhaps meant by `name`, and what there is."""
    names = list(known)
    if not names:
        return "There are none."
    near = difflib.get_close_matches(name.lower(), [other.lower() for other in names], n=1)
    meant = next((f"Did you mean {other!r}? " for other in names if other.lower() in near), "")
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return f"{meant}There {_is(names)} {', '.join(names[:_MOST_SHOWN])}{more}."


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _sanitized(name: str) -> str:
    return re.sub(r"[_\s]", "-", name).lower()
