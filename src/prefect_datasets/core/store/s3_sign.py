"""Sign requests to S3: Amazon's Signature Version 4, of which an upload needs one page.

botocore knows all of it, and takes a second to load.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
# The body has a checksum of its own; a second one over it would be the larger part of the work.
_UNSIGNED = "UNSIGNED-PAYLOAD"


class Keys(NamedTuple):
    """What to sign with."""

    access: str
    secret: str
    token: str | None


def quoted_path(path: str) -> str:
    """Return a path as it is sent and signed."""
    return quote(path, safe="/-_.~")


def quoted_query(query: Mapping[str, str]) -> str:
    """Return a query as it is sent and signed."""
    pairs = [(quote(name, safe="-_.~"), quote(text, safe="-_.~")) for name, text in query.items()]
    return "&".join(f"{name}={text}" for name, text in sorted(pairs))


def signed_headers(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    keys: Keys,
    region: str,
    now: datetime | None = None,
) -> dict[str, str]:
    """Return the headers of a request with its signature among them.

    Args:
        method: `GET`, `PUT` and so on.
        host: Host and port, as the request will name it.
        path: As `quoted_path` returns it.
        query: As `quoted_query` returns it.
        headers: Others that are to be signed, in lower case.
        keys: What to sign with.
        region: The bucket's region.
        now: The time; left out, this moment.
    """
    stamp = f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    sent = {**headers, "host": host, "x-amz-date": stamp, "x-amz-content-sha256": _UNSIGNED}
    if keys.token:
        sent["x-amz-security-token"] = keys.token
    names = ";".join(sorted(sent))
    lines = "".join(f"{name}:{sent[name].strip()}\n" for name in sorted(sent))
    request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{_UNSIGNED}"
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{keys.secret}".encode()
    for step in scope.split("/"):
        key = _hmac(key, step)
    signature = _hmac(key, f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}").hex()
    credential = f"{keys.access}/{scope}"
    sent["authorization"] = (
        f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    return sent


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
