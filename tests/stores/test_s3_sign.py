"""Our signatures are those that botocore makes of the same requests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.store.s3_sign import (
    Keys,
    quoted_path,
    quoted_query,
    signed_headers,
)

NOW = datetime(2026, 11, 22, 16, 30, tzinfo=UTC)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=20)


def botocores(method: str, url: str, headers: dict[str, str], keys: Keys, region: str) -> str:
    """Return the signature that botocore makes."""
    auth: Any = pytest.importorskip("botocore.auth")
    request: Any = pytest.importorskip("botocore.awsrequest").AWSRequest(method, url, headers)
    credentials: Any = pytest.importorskip("botocore.credentials").Credentials(*keys)
    request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    request.context["timestamp"] = f"{NOW:%Y%m%dT%H%M%SZ}"
    request.context["payload_signing_enabled"] = False
    signer = auth.S3SigV4Auth(credentials, "s3", region)
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    if keys.token:
        request.headers["X-Amz-Security-Token"] = keys.token
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return signer.signature(text, request)


@given(name=TEXT, upload=TEXT, number=st.integers(1, 10_000), token=st.none() | st.just("t/+="))
def test_signatures_are_botocores(name: str, upload: str, number: int, token: str | None) -> None:
    keys = Keys("AKIAEXAMPLE", "secret/+=", token)
    path, host = quoted_path(f"/bucket/{name}"), "127.0.0.1:8333"
    query = quoted_query({"uploadId": upload, "partNumber": str(number)})
    headers = {"x-amz-checksum-crc32": "AAAAAA=="}
    signed = signed_headers(
        "PUT", host, path, query, headers, keys=keys, region="eu-west-1", now=NOW
    )
    expected = botocores("PUT", f"http://{host}{path}?{query}", headers, keys, "eu-west-1")
    assert signed["authorization"].endswith(f"Signature={expected}")
    assert signed["x-amz-checksum-crc32"] == headers["x-amz-checksum-crc32"]


def test_a_query_without_a_value_is_signed_as_empty() -> None:
    assert quoted_query({"uploads": ""}) == "uploads="
    assert quoted_query({"b": "x y", "a": "/"}) == "a=%2F&b=x%20y"
