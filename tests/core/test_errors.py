"""Errors carry what, where and what now, across processes."""

from __future__ import annotations

import inspect
import pickle

import pytest

from prefect_datasets.core import errors
from prefect_datasets.core.errors import DatasetError, InvalidMetadataError

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, DatasetError)
]
RETRYABLE = {"StoreError"}


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_survives_pickling(kind: type[DatasetError]) -> None:
    error = kind("It broke", subject="s3://bucket/key", hint="Mend it.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.message, again.subject, again.hint) == ("It broke", "s3://bucket/key", "Mend it.")
    assert str(again) == str(error)
    assert again.retryable == error.retryable == (kind.__name__ in RETRYABLE)


def test_faults_of_metadata_survive_pickling() -> None:
    error = InvalidMetadataError("2 faults", subject="a.jsonl", faults=("line 1: x", "line 2: y"))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "2 faults: a.jsonl.\n  line 1: x\n  line 2: y"
    assert again.faults == error.faults


@pytest.mark.parametrize(
    ("subject", "hint", "text"),
    [
        ("", "", "It broke."),
        ("key", "", "It broke: key."),
        ("", "Mend it.", "It broke. Mend it."),
        ("key", "Mend it.", "It broke: key. Mend it."),
    ],
)
def test_the_message_is_one_line(subject: str, hint: str, text: str) -> None:
    assert str(DatasetError("It broke", subject=subject, hint=hint)) == text


def test_errors_are_what_callers_expect_of_python() -> None:
    assert issubclass(errors.InvalidUriError, ValueError)
    assert issubclass(errors.InvalidMetadataError, ValueError)
    assert issubclass(errors.NotFoundError, LookupError)


def test_the_docstring_names_every_class() -> None:
    assert errors.__doc__ is not None
    assert all(kind.__name__ in errors.__doc__ for kind in CLASSES)
