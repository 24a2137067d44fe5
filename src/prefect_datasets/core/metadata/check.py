"""The platform's own keys among the properties of files: tags and datum aliases."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import codes, mask
from prefect_datasets.core.errors import InvalidUriError
from prefect_datasets.core.uri import DatumUri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect_datasets.core.metadata.findings import Findings

_KNOWN_KEYS = frozenset({"valohai.tags", "valohai.alias", "valohai.model-versions"})
_PREFIX = "valohai."
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def check_properties(
    properties: pa.Array, paths: pa.ChunkedArray, findings: Findings
) -> dict[str, str]:
    """Check the platform's own keys, and return the path that each datum alias shall name.

    A faulty key stays a property: nothing is lost by keeping it.

    Args:
        properties: JSON objects, one per path: a dictionary-encoded string array.
        paths: The paths.
        findings: Is told of faults.
    """
    aliases: dict[str, str] = {}
    for body, rows in _with_own_keys(properties):
        path = paths[rows[0]].as_py()
        _check_keys(body, path, findings)
        alias = _read_alias(body.get("valohai.alias"), path, findings)
        if alias is None:
            continue
        named = [aliases[alias]] if alias in aliases else []
        named += [paths[row].as_py() for row in rows[:2]]
        aliases[alias] = named[0]
        if len(named) > 1:
            findings.fault(
                f"`valohai.alias` {alias!r} is given to two files: {named[0]!r} and {named[1]!r}"
            )
    return aliases


def _with_own_keys(properties: pa.Array) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Yield the distinct objects that have a key of the platform's own, each with its rows.

    They come in the order of their first rows.
    """
    marked = pc.match_substring(properties.dictionary, f'"{_PREFIX}')
    if not pc.any(marked).as_py():
        return
    numbers = codes(properties.indices)
    rows = np.flatnonzero(np.append(mask(marked), False)[numbers])  # last: at -1
    by_code: dict[int, list[int]] = {}
    for row in rows.tolist():
        by_code.setdefault(int(numbers[row]), []).append(row)
    for code, its_rows in by_code.items():
        yield json.loads(properties.dictionary[code].as_py()), its_rows


def _check_keys(body: dict[str, Any], path: str, findings: Findings) -> None:
    for key in body:
        if key.startswith(_PREFIX) and key not in _KNOWN_KEYS:
            findings.warn(f"the key `{key}` is not known: kept as a property", repr(path))
    tags = body.get("valohai.tags")
    if tags is None:
        return
    if not isinstance(tags, list) or not all(
        isinstance(tag, str) for tag in cast("list[object]", tags)
    ):
        findings.fault(f"{path!r}: `valohai.tags` is not a list of strings")


def _read_alias(value: object, path: str, findings: Findings) -> str | None:
    if isinstance(value, list) and len(cast("list[object]", value)) == 1:
        findings.warn("`valohai.alias` is a list; it should be one string", repr(path))
        value = cast("list[object]", value)[0]
    if value is None:
        return None
    if not isinstance(value, str):
        findings.fault(f"{path!r}: `valohai.alias` is not a string")
        return None
    if _UUID.fullmatch(value):
        findings.fault(f"{path!r}: `valohai.alias` {value!r} looks like the id of a datum")
        return None
    try:
        return DatumUri.parse(f"datum://{value}").id
    except InvalidUriError:
        findings.fault(
            f"{path!r}: `valohai.alias` {value!r} is not made of letters, digits, dots, "
            "underscores and dashes, a letter or digit first"
        )
        return None
