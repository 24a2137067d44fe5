"""A store that can't be used says why in one error, before any run needs it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.types import SecretDict

from prefect_datasets import DatasetStore
from prefect_datasets.core.errors import (
    AccessDeniedError,
    DatasetError,
    InvalidInputError,
    NotFoundError,
    StoreError,
)
from prefect_datasets.flows import check_store, publish_directory
from tests.servers.process import Served, free_ports


def block(served: Served, url: str = "", **other: Any) -> DatasetStore:
    return DatasetStore(url=url or served.url, secrets=SecretDict({**served.options, **other}))


def test_a_store_that_works_is_told_to_work(seaweedfs: Served, fresh_prefix: str) -> None:
    checked = check_store(block(seaweedfs, f"{seaweedfs.url}/{fresh_prefix}"))
    assert checked.url == f"{seaweedfs.url}/{fresh_prefix}"
    assert checked.endpoint == seaweedfs.options["endpoint_url"]
    assert checked.creates_once


@pytest.mark.parametrize(
    ("url", "options", "error", "said"),
    [
        ("", {"secret": "wrong"}, AccessDeniedError, "refused the credentials"),
        ("", {"key": "nobody"}, AccessDeniedError, "refused the credentials"),
        ("s3://no-such-bucket/x", {}, NotFoundError, "No such bucket 'no-such-bucket'"),
        ("", {"endpoint_url": "127.0.0.1:9"}, InvalidInputError, "Not the address of a server"),
        ("", {"endpoint_url": "http://127.0.0.1:{port}"}, StoreError, "can't be reached"),
        ("", {"endpointurl": "http://127.0.0.1:9"}, DatasetError, "endpointurl"),
        ("s3:/bucket", {}, InvalidInputError, "needs ://"),
        ("s3://", {}, InvalidInputError, "needs a bucket"),
        ("nothing://x", {}, DatasetError, "nothing"),
        ("/proc/no/such/place", {}, DatasetError, "/proc/no"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    seaweedfs: Served, url: str, options: dict[str, str], error: type[DatasetError], said: str
) -> None:
    (port,) = free_ports(1)
    given = {name: value.format(port=port) for name, value in options.items()}
    with pytest.raises(error) as raised:
        block(seaweedfs, url, **given).check()
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(seaweedfs.options["secret"]) not in str(raised.value)


def test_the_address_can_be_wrong_in_the_environment_too(
    seaweedfs: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost")
    with pytest.raises(InvalidInputError, match="Not the address of a server: localhost"):
        block(seaweedfs, endpoint_url="").check()


def test_the_run_says_the_same(seaweedfs: Served) -> None:
    with pytest.raises(AccessDeniedError, match="refused the credentials"):
        check_store(block(seaweedfs, secret="wrong"))


def test_nothing_is_published_to_a_store_that_cannot_be_used(
    seaweedfs: Served, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("1")
    with pytest.raises(AccessDeniedError):
        publish_directory(block(seaweedfs, secret="wrong"), str(tmp_path), "pets", "v1")


def validated(url: str) -> dict[str, Any]:
    """Ask the server about a block's values, as its form does."""
    schema = DatasetStore.model_json_schema()
    body = {"schema": schema, "values": {"url": url}}
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/ui/schemas/validate", json=body)  # type: ignore[arg-type]
    return answer.json()


@pytest.mark.parametrize(
    "url",
    ["s3://bucket", "gs://b/x", "/data", "./data", "~/data", "data", "memory://", "file:///data"],
)
def test_the_form_takes_a_url(url: str) -> None:
    assert validated(url)["valid"] is True


@pytest.mark.parametrize(
    "url", ["", " ", "s3:/bucket", "s3//bucket", "s3://", "gs:///x", "https:/x", "az:x"]
)
def test_the_form_refuses_what_no_store_has(url: str) -> None:
    answer = validated(url)
    assert answer["valid"] is False
    assert re.search(r"does not match|non-empty", str(answer["errors"]))
