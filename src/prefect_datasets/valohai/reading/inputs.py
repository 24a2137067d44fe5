"""Inputs: what each of a step's inputs brings, and how its files lie."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from valohai_yaml.objs import Input, Parameter

from prefect_datasets.core.errors import InvalidInputError, InvalidUriError
from prefect_datasets.core.uri import DatasetUri, DatumUri
from prefect_datasets.valohai.plan import InputPlan, KeepDirectories, ParameterValue
from prefect_datasets.valohai.reading.names import suggest
from prefect_datasets.valohai.reading.parameters import PLACEHOLDER, Fill


def plan_input(
    written: Mapping[str, Any],
    uris: Sequence[str],
    *,
    parameters: Mapping[str, Parameter],
    values: Mapping[str, ParameterValue],
    fill: Fill = str,
) -> InputPlan:
    """Decide what an input brings.

    Args:
        written: Its mapping as the file has it: only that tells `none` from nothing said.
        uris: What it is to bring, with `{parameter:x}` in it.
        parameters: The step's parameters.
        values: Their values.
        fill: Writes what is only known now, such as a date, into a URI.

    Raises:
        InvalidInputError: A URI has a wrong form, or it has none and is not optional.
    """
    declared: Input = Input.parse(dict(written))
    _check_name(declared.name)
    found = [
        fill(full)
        for uri in uris
        for full in _filled(uri, declared, parameters, values)
        if full.strip()
    ]
    for uri in found:
        _check_uri(uri, declared.name)
    if not found and not declared.optional:
        raise InvalidInputError(
            f"Input {declared.name!r} has no URI and is not optional",
            hint=f"Give it one with -i {declared.name}=URI.",
        )
    return InputPlan(
        name=declared.name,
        uris=tuple(found),
        keep_directories=_keep_directories(declared, written),
        filename=declared.filename or None,
        optional=declared.optional,
    )


def uris_of(value: str | Sequence[str] | None) -> list[str]:
    """Return the URIs that a default or something given names: one, several or none."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _keep_directories(declared: Input, written: Mapping[str, Any]) -> KeepDirectories | None:
    if written.get("keep-directories") is None:
        return None
    return declared.keep_directories.value


def _filled(
    uri: str,
    declared: Input,
    parameters: Mapping[str, Parameter],
    values: Mapping[str, ParameterValue],
) -> list[str]:
    """Write parameters into a URI, as they are; one with several values makes several URIs.

    An optional input goes without a URI whose parameter has no value.
    """
    names = list(dict.fromkeys(found["name"] for found in PLACEHOLDER.finditer(uri)))
    for name in names:
        if name not in parameters:
            raise _cannot_fill(uri, declared, f"no parameter {name!r}", suggest(name, parameters))
        if name not in values and not declared.optional:
            raise _cannot_fill(uri, declared, f"no value for {name!r}", f"Give -p {name}=VALUE.")
    if any(name not in values for name in names):
        return []
    return [
        PLACEHOLDER.sub(lambda found, row=row: row[found["name"]], uri)
        for row in _rows(names, values)
    ]


def _rows(names: Sequence[str], values: Mapping[str, ParameterValue]) -> list[dict[str, str]]:
    """Return the values of `names` as text, once for every combination."""
    columns = [value if isinstance(value := values[name], list) else [value] for name in names]
    rows = itertools.product(*columns)
    return [dict(zip(names, map(str, row), strict=True)) for row in rows]


def _cannot_fill(uri: str, declared: Input, why: str, hint: str) -> InvalidInputError:
    return InvalidInputError(
        f"Input {declared.name!r} can't be filled: there is {why}", subject=uri, hint=hint
    )


def _check_name(name: str) -> None:
    if not name.strip(".") or "/" in name or "\0" in name:
        raise InvalidInputError(
            "An input's name is the name of its folder, and this can be none",
            subject=repr(name),
            hint="Rename the input.",
        )


def _check_uri(uri: str, name: str) -> None:
    scheme, found, _ = uri.partition("://")
    if not found:
        raise InvalidUriError(
            f"Input {name!r} needs a URI",
            subject=repr(uri),
            hint="Write dataset://NAME/VERSION, s3://BUCKET/KEY, https://… or file:///PATH.",
        )
    if scheme == "model":
        raise InvalidUriError(
            f"Input {name!r} names a model, and there is no model registry here",
            subject=uri,
            hint="Publish the model's files as a dataset version.",
        )
    checks = {"dataset": DatasetUri.parse, "datum": DatumUri.parse}
    if scheme in checks:
        checks[scheme](uri)
