"""JSON objects that a step prints, a line each: the metadata of its execution."""

from __future__ import annotations

import json
from collections import deque
from typing import Any, cast

MOST_KEYS = 1_000
MOST_VALUES = 1_000
_MOST_CHARACTERS = 1_000


class StepMetadata:
    """The last value of each key, and the series of those that are numbers or short texts.

    A long series keeps its newest values, and keys beyond the thousandth are counted alone.
    """

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}
        self.n_ignored_keys = 0
        self._series: dict[str, deque[Any]] = {}

    @property
    def series(self) -> dict[str, list[Any]]:
        """All values of each key that are kept, oldest first."""
        return {key: list(values) for key, values in self._series.items()}

    def read(self, line: bytes) -> bool:
        """Take a line; tell whether it is metadata."""
        text = line.strip()
        if not (text.startswith(b"{") and text.endswith(b"}")):
            return False
        try:
            # Words such as NaN are no JSON, and the API that shows this takes none.
            body = json.loads(text, parse_constant=str)
        except (ValueError, RecursionError):
            return False
        for key, value in cast("dict[str, Any]", body).items():
            self._add(key, value)
        return True

    def _add(self, key: str, value: Any) -> None:
        if key not in self.last and len(self.last) >= MOST_KEYS:
            self.n_ignored_keys += 1
            return
        self.last[key] = value
        if not isinstance(value, list | dict) and len(str(value)) <= _MOST_CHARACTERS:
            self._series.setdefault(key, deque(maxlen=MOST_VALUES)).append(value)
