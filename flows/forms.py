"""Types for the parameters of flows: what their forms show, and what they refuse.

The Prefect server checks parameters against a schema when a deployment is made and again before a
run is created; the pattern of a name stands in it. What no pattern can tell, such as a time zone
that there is not, is checked by Python when the run begins.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, cast

from prefect import Flow
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic.fields import FieldInfo

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.uri import (
    MAX_NAMES_BYTES,
    DatasetUri,
    check_alias_name,
    check_new_version_name,
)
from prefect_datasets.flows.templates import fill

AnyFlow = TypeVar("AnyFlow", bound=Flow[..., Any])

_ANY_TIME = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[kKmMgGtT]?)[bB]?")

# -- patterns, in what Python and ECMAScript have in common -----------------------------------

# What `strftime` writes without a character that no name may have; in datasets digits alone.
_DIGITS, _LETTERS = "CdFfGgHIjmMsSuUVwWyY", "aAbBhpPZ"


def _name(characters: str, directives: str) -> str:
    """Return the pattern of a name with `{scheduled:…}` in it; a letter or digit comes first."""
    form = rf"(:([{characters}._-]|%-?[{directives}])*)?"
    return rf"(?!(\{{[^:}}]*:)?[._-])([{characters}._-]|\{{scheduled(@[A-Za-z0-9_/+-]+)?{form}\}})+"


_DATASET = _name("a-z0-9", _DIGITS)
_VERSION = _name("A-Za-z0-9", _DIGITS + _LETTERS)
_NO_DOTS = r"(?!.*\.(\}?\{[^:}]*:|\})?\.)"
_NOT_LATEST = r"(?!(.*/)?latest$)"


def _schema(words: str, pattern: str, *, optional: bool = False, **more: Any) -> WithJsonSchema:
    """Return the schema of a text.

    Args:
        words: What is to be written: whoever refuses a value shows nothing but the pattern, so it
            begins with these words, as a branch that never matches.
        pattern: What is accepted.
        optional: Whether it may be empty.
        more: What else the schema says.
    """
    said = "".join(f"[{c}]" if c in "{}" else re.sub(r"[.?*+()|^$]", r"\\\g<0>", c) for c in words)
    accepted = f"({pattern})?" if optional else pattern
    most = MAX_NAMES_BYTES + len("dataset:///")
    return WithJsonSchema(
        {"type": "string", "pattern": f"^({said}(?!)|{accepted})$", "maxLength": most, **more}
    )


_URI_WORDS = "dataset://NAME/VERSION"
_URI_PATTERN = rf"{_NO_DOTS}dataset://{_DATASET}/{_VERSION}"
_DATASET_WORDS = "a dataset such as sensor-data"
_VERSION_WORDS = "a version such as v1 or {scheduled:%Y-%m-%d}"
_ALIAS_WORDS = "an alias such as nightly"


def _check_uri(text: str) -> str:
    DatasetUri.parse(fill(text, scheduled=lambda: _ANY_TIME))
    return text


def _check_optional_uri(text: str) -> str:
    return _check_uri(text) if text else text


def _check_new_uri(text: str) -> str:
    check_new_version_name(DatasetUri.parse(fill(text, scheduled=lambda: _ANY_TIME)))
    return text


def _check_dataset(text: str) -> str:
    _check_uri(f"dataset://{text}/v")
    return text


def _check_optional_dataset(text: str) -> str:
    return _check_dataset(text) if text else text


def _check_new_version(text: str) -> str:
    _check_new_uri(f"dataset://d/{text}")
    return text


def _check_alias(text: str) -> str:
    check_alias_name(fill(text, scheduled=lambda: _ANY_TIME))
    return text


VersionUri = Annotated[str, _schema(_URI_WORDS, _URI_PATTERN), AfterValidator(_check_uri)]
"""A version or an alias: `dataset://NAME/VERSION`, with `{scheduled:…}` where it is wanted."""

OptionalVersionUri = Annotated[
    str, _schema(_URI_WORDS, _URI_PATTERN, optional=True), AfterValidator(_check_optional_uri)
]
"""The same, or nothing."""

NewVersionUri = Annotated[
    str, _schema(_URI_WORDS, _NOT_LATEST + _URI_PATTERN), AfterValidator(_check_new_uri)
]
"""A version that is to be made."""

DatasetName = Annotated[
    str, _schema(_DATASET_WORDS, _NO_DOTS + _DATASET), AfterValidator(_check_dataset)
]
"""Name of a dataset."""

OptionalDatasetName = Annotated[
    str,
    _schema(_DATASET_WORDS, _NO_DOTS + _DATASET, optional=True),
    AfterValidator(_check_optional_dataset),
]
"""The same, or nothing."""

NewVersionName = Annotated[
    str,
    _schema(_VERSION_WORDS, _NO_DOTS + _NOT_LATEST + _VERSION),
    AfterValidator(_check_new_version),
]
"""Name of a version that is to be made, with `{scheduled:…}` where it is wanted."""

AliasName = Annotated[
    str,
    _schema(_ALIAS_WORDS, _NO_DOTS + _NOT_LATEST + _VERSION),
    AfterValidator(_check_alias),
]
"""A name that stands for a version of a dataset and can be moved."""

# -- lists, whose rows may be left empty ------------------------------------------------------

# What the form writes in a new row; it writes null otherwise, which no schema of a text takes.
_NEW_ROW = {"default": ""}
_NOTHING = MappingProxyType[str, Any]({})
# An empty list has a message of its own.
ONE_FILLED_ROW = MappingProxyType({"if": {"minItems": 1}, "then": {"contains": {"minLength": 1}}})


def _only_filled(rows: Any) -> Any:
    if not isinstance(rows, list | tuple):
        return rows
    return [row for row in cast("list[Any]", rows) if row is not None and str(row).strip()]


AliasNames = Annotated[
    list[
        Annotated[
            str,
            _schema(_ALIAS_WORDS, _NO_DOTS + _NOT_LATEST + _VERSION, optional=True, **_NEW_ROW),
            AfterValidator(_check_alias),
        ]
    ],
    BeforeValidator(_only_filled),
]
"""Aliases; rows without one count for nothing."""

VersionUris = Annotated[
    list[
        Annotated[
            str,
            _schema(_URI_WORDS, _URI_PATTERN, optional=True, **_NEW_ROW),
            AfterValidator(_check_uri),
        ]
    ],
    BeforeValidator(_only_filled),
]
"""Versions or aliases; rows without one count for nothing."""

Patterns = Annotated[
    list[Annotated[str, WithJsonSchema({"type": "string", **_NEW_ROW})]],
    BeforeValidator(_only_filled),
]
"""Paths or globs; rows without one count for nothing."""


def _check_size(text: str) -> str:
    if text:
        parse_size(text)
    return text


OptionalSize = Annotated[
    str,
    _schema("a size such as 500M or 50G", r"\d+(\.\d+)?\s*[kKmMgGtT]?[bB]?", optional=True),
    AfterValidator(_check_size),
]
"""A number of bytes, such as `500M` or `50G`, or nothing."""


def parse_size(text: str) -> int:
    """Return a number of bytes; units are powers of 1,000.

    Raises:
        InvalidInputError: `text` is no size.
    """
    if (match := _SIZE.fullmatch(text.strip())) is None:
        raise InvalidInputError("Not a size", subject=repr(text), hint="Write 500M or 50G.")
    return int(float(match["number"]) * _UNITS[match["unit"].lower()])


# No `@`: a password in a parameter is shown to everybody.
Url = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(s3://BUCKET/PREFIX(?!)|[a-z][a-z0-9+.-]*://[^@\s][^@]*)$",
        }
    ),
]
"""A URL without credentials."""

BlockName = Annotated[str, _schema("name of a saved block", "[a-z0-9-]*")]
"""Name of a saved block, or nothing."""


def titled(title: str, more: Mapping[str, Any] = _NOTHING, **constraints: Any) -> FieldInfo:
    """Say what a parameter is called in a form, and what it may be.

    Prefect titles a parameter by its name in Python, whatever else it is told, except by the part
    of the schema that it merges last.
    """
    return Field(json_schema_extra={"title": title, **more}, **constraints)


def described(shipped: AnyFlow) -> AnyFlow:
    """Show what a flow does without its parameters, whose form says what they are."""
    shipped.description = (shipped.description or "").partition("\n\nArgs:")[0]
    return shipped
