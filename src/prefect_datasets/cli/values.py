"""Values of the command line, parsed once: a wrong one is told with what is wrong about it."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.uri import (
    DatasetUri,
    check_alias_name,
    check_dataset_name,
    check_new_version_name,
)

if TYPE_CHECKING:
    from collections.abc import Generator

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@contextmanager
def _told_as_wrong_usage() -> Generator[None]:
    try:
        yield
    except DatasetError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def uri(text: str) -> DatasetUri:
    """Read a dataset URI."""
    with _told_as_wrong_usage():
        return DatasetUri.parse(text)


def new_uri(text: str) -> DatasetUri:
    """Read the URI of a version that can be made."""
    found = uri(text)
    with _told_as_wrong_usage():
        check_new_version_name(found)
    return found


def dataset(text: str) -> str:
    """Read the name of a dataset, with or without `dataset://`."""
    name = text.removeprefix("dataset://")
    with _told_as_wrong_usage():
        check_dataset_name(name)
    return name


def alias(text: str) -> str:
    """Read the name of an alias."""
    with _told_as_wrong_usage():
        check_alias_name(text)
    return text


def resolvable(text: str) -> str:
    """Check dataset URIs here; what else can be resolved is the engine's to say."""
    return str(uri(text)) if text.startswith("dataset:") or "://" not in text else text


def shard(text: str) -> tuple[int, int]:
    """Read `K/N`."""
    number, slash, of = text.partition("/")
    if slash and number.isdecimal() and of.isdecimal() and int(number) < int(of):
        return int(number), int(of)
    raise argparse.ArgumentTypeError(f"not a shard: {text!r}. Write K/N, with K from 0 to N-1")


def positive(text: str) -> int:
    """Read a number of 1 or more."""
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"not a number: {text!r}. Write 1 or more")


def n_days(text: str) -> int:
    """Read a number of days, such as 30 or 30d."""
    number = text.lower().removesuffix("d")
    if number.isdecimal() and int(number):
        return int(number)
    raise argparse.ArgumentTypeError(f"not a number of days: {text!r}. Write 1 or more, such as 30")


def n_bytes(text: str) -> int:
    """Read a size, such as 500M: the number of bytes."""
    digits = text.lower().removesuffix("b")
    unit = digits[-1:] if digits[-1:] in _UNITS else ""
    number = digits.removesuffix(unit)
    if number.isdecimal():
        return int(number) * _UNITS[unit]
    raise argparse.ArgumentTypeError(f"not a size: {text!r}. Write a number, such as 500M or 50G")
