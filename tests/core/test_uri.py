"""Names are parsed once, and what can't be a name says what would be one."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core import uri
from prefect_datasets.core.errors import InvalidUriError
from prefect_datasets.core.uri import DatasetUri, DatumUri

if TYPE_CHECKING:
    from collections.abc import Callable

_DATASETS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
_VERSIONS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(dataset=_DATASETS, version=_VERSIONS)
def test_a_uri_comes_back(dataset: str, version: str) -> None:
    text = f"dataset://{dataset}/{version}"
    if ".." in text:
        with pytest.raises(InvalidUriError):
            DatasetUri.parse(text)
    else:
        assert DatasetUri.parse(text) == DatasetUri(dataset, version)
        assert str(DatasetUri.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "my-images/v1",
        "dataset://my-images",
        "dataset://my-images/",
        "dataset:///v1",
        "dataset://my-images/v1/",
        "dataset://my-images/v1/more",
        "dataset://my-images/v1\n",
        " dataset://my-images/v1",
        "Dataset://my-images/v1",
        "s3://my-images/v1",
        "dataset://../v1",
        "dataset://a..b/v1",
        "dataset://a/v..1",
        "dataset://.a/v1",
        "dataset://-a/v1",
        "dataset://a/@alias",
        "dataset://a/v 1",
        "dataset://a/v%201",
        "dataset://h\u00e4user/v1",
        "dataset://a/\u0661",
        f"dataset://{'a' * 200}/{'b' * 100}",
    ],
)
def test_other_text_is_no_uri(text: str) -> None:
    with pytest.raises(InvalidUriError) as caught:
        DatasetUri.parse(text)
    assert caught.value.hint


def test_upper_case_in_a_dataset_is_explained() -> None:
    with pytest.raises(InvalidUriError, match="Use 'my-images'"):
        DatasetUri.parse("dataset://My-Images/v1")
    assert DatasetUri.parse("dataset://my-images/V1").version == "V1"


def test_the_longest_names_fit_into_a_file_name() -> None:
    found = DatasetUri.parse(f"dataset://{'a' * 115}/{'b' * 115}")
    assert len(f"{found.dataset}.{found.version}-1000000.vhpkgzip") <= 255


@pytest.mark.parametrize(
    "check",
    [
        lambda: uri.check_new_version_name(DatasetUri("a", "latest")),
        lambda: uri.check_alias_name("latest"),
    ],
)
def test_latest_is_reserved(check: Callable[[], None]) -> None:
    with pytest.raises(InvalidUriError, match="reserved"):
        check()


def test_names_are_checked_one_by_one() -> None:
    uri.check_dataset_name("a.b_c-1")
    uri.check_version_name("V.b_c-1")
    uri.check_alias_name("best")
    uri.check_new_version_name(DatasetUri("a", "v1"))
    with pytest.raises(InvalidUriError, match="Invalid version name 'a/b'"):
        uri.check_alias_name("a/b")


@pytest.mark.parametrize(
    "text", ["datum://0197b2f0-7a51-7c52-9c1c-3f1a5d2e8b10", "datum://best.one"]
)
def test_a_datum_uri_comes_back(text: str) -> None:
    assert str(DatumUri.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "datum://", "datum://a/b", "datum://@a", "dataset://a/b", "datum://a\n"]
)
def test_other_text_is_no_datum_uri(text: str) -> None:
    with pytest.raises(InvalidUriError, match=r"Write datum://ID or datum://ALIAS\."):
        DatumUri.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("dataset://a/b", True), ("dataset://", True), ("datum://a", False), ("s3://a/b", False)],
)
def test_what_means_to_be_a_uri(text: str, expected: bool) -> None:
    assert uri.is_dataset_uri(text) is expected


def test_names_records_and_errors_import_nothing_heavy() -> None:
    code = (
        "import sys; from prefect_datasets.core import errors, uri, progress; "
        "from prefect_datasets.core.format import record; "
        "print({'numpy', 'pyarrow', 'fsspec', 'obstore', 'prefect', 'pydantic'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "set()\n"
