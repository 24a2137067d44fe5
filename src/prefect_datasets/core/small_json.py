"""Small JSON documents, read and written without `json`.

`json` imports `re`, which takes as long as two thirds of the interpreter's start; a resolve from
the cache needs neither. What `json` itself is made of does the work; where an interpreter has none
of that, `json` does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class _Plainly:
    """How the scanner reads: as `json.loads` does where it is told nothing."""

    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def loads(data: bytes) -> Any:
    """Read one document that `dumps` or `json.dumps` wrote.

    Raises:
        ValueError: It is none.
    """
    text = data.decode().strip()
    try:
        from _json import make_scanner  # noqa: PLC0415  (see above)

        value, end = make_scanner(_Plainly)(text, 0)  # pyright: ignore[reportArgumentType]  (its stub)
    except (ImportError, AttributeError):
        import json  # noqa: PLC0415  (see above)

        return json.loads(text)
    except StopIteration as error:
        raise ValueError("no JSON") from error
    if end != len(text):
        raise ValueError("more than one JSON document")
    return value


def dumps(fields: Mapping[str, str | float | None], *, indent: str = "") -> str:
    """Write an object without objects or lists in it; with `indent`, one field to a line."""
    written = [f"{_quote(name)}: {_value(value)}" for name, value in fields.items()]
    if not indent:
        return f"{{{', '.join(written)}}}"
    return "{\n" + ",\n".join(f"{indent}{line}" for line in written) + "\n}"


def _value(value: str | float | None) -> str:
    if isinstance(value, str):
        return _quote(value)
    if value is None:
        return "null"
    return repr(value).lower() if isinstance(value, bool) else repr(value)


def _quote(text: str) -> str:
    try:
        from _json import encode_basestring  # noqa: PLC0415  (see above)
    except ImportError:
        from json.encoder import encode_basestring  # noqa: PLC0415  (see above)
    return encode_basestring(text)
