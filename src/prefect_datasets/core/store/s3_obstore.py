"""The fast way to S3: obstore, a client written in Rust, several times cheaper per object."""

# ruff: noqa: PLC0415 - clients are slow to load, and only some stores need them

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.store.base import ObjectInfo, bare_etag
from prefect_datasets.core.store.s3_options import FastPlan, Settings, settle
from prefect_datasets.core.store.s3_sign import Keys

if TYPE_CHECKING:
    import http.client

    from typing_extensions import Buffer

_MAX_RETRIES = 5
_RETRY_SECONDS = 60
# A whole request, its body included: 16 MiB at 64 KiB a second.
_REQUEST_SECONDS = 300
_LIST_PAGE = 1000
_DELETE_PAGE = 1000

# The process whose threads serve obstore. They do not survive a fork, and obstore can't be told to
# start new ones: a child that uses it hangs.
_owner: int | None = None


def usable_here() -> bool:
    """Whether obstore works in this process: it does not in the child of one that has used it."""
    return _owner in (None, os.getpid())


class FastS3:
    """One bucket through obstore; keys are the bucket's own."""

    def __init__(self, bucket: str, plan: FastPlan) -> None:
        settings = settle(plan)
        self._credentials = settings.credentials
        self.endpoint, self.region = _address(bucket, settings)
        self._store = _open(bucket, plan, settings, endpoint=self.endpoint, region=self.region)
        self.trusts_server = not settings.authorities or self._trusts_server()

    def _trusts_server(self) -> bool:
        """Whether obstore takes the server's certificate: not one that signed itself."""
        try:
            _obstore().head(self._store, "@probe/none")
        except Exception as error:  # noqa: BLE001 - the first use tells of everything else
            return "InvalidCertificate" not in str(error)
        return True

    def keys(self) -> Keys:
        """Return the keys to sign with now."""
        assert self._credentials is not None, "who is anonymous signs nothing"
        now = self._credentials()
        return Keys(now["access_key_id"], now["secret_access_key"], now["token"])

    def read(self, key: str) -> memoryview:
        """Return a whole object."""
        return memoryview(_obstore().get(self._store, key).bytes())

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        """Return up to `length` bytes: less where the object ends."""
        return memoryview(_obstore().get_range(self._store, key, start=start, length=length))

    def read_with_info(self, key: str, start: int, length: int) -> tuple[memoryview, ObjectInfo]:
        """Return up to `length` bytes, and what the same reply says of the object."""
        options: Any = {"range": (start, start + length)} if length else {}
        reply = _obstore().get(self._store, key, options=options)
        return memoryview(reply.bytes()), _info(reply.meta)

    def read_ranges(self, key: str, starts: list[int], lengths: list[int]) -> list[Any]:
        """Return several ranges of one object, ten requests at a time, with one call."""
        return _obstore().get_ranges(self._store, key, starts=starts, lengths=lengths, coalesce=0)

    def presigned(self, key: str, seconds: int) -> str:
        """Return an address at which anyone can read an object for some time."""
        until = timedelta(seconds=seconds)
        return _obstore().sign(self._store, "GET", key, expires_in=until)

    def info(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        try:
            found = _obstore().head(self._store, key)
        except FileNotFoundError:
            return None
        return _info(found)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects below a folder, a page at a time."""
        for page in _obstore().list(self._store, prefix or None, chunk_size=_LIST_PAGE):
            yield from map(_info, page)

    def list_folders(self, prefix: str) -> Sequence[str]:
        """Return the folders directly below a folder, with their whole path."""
        return _obstore().list_with_delimiter(self._store, prefix or None)["common_prefixes"]

    def write(self, key: str, data: Buffer) -> None:
        """Write an object with one request."""
        _obstore().put(self._store, key, _accepted(data), use_multipart=False)

    def create(self, key: str, data: bytes) -> None:
        """Write an object with one request that is refused if there is one."""
        _obstore().put(self._store, key, data, mode="create", use_multipart=False)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, a thousand with a request."""
        for first in range(0, len(keys), _DELETE_PAGE):
            _obstore().delete(self._store, keys[first : first + _DELETE_PAGE])

    def copy(self, source: str, target: str) -> None:
        """Copy an object of at most 5 GiB."""
        _obstore().copy(self._store, source, target)


def open_fast(bucket: str, plan: FastPlan) -> FastS3 | None:
    """Open a bucket, or return None where obstore refuses a setting or the certificate.

    Raises:
        AccessDeniedError: There are no credentials.
    """
    global _owner  # noqa: PLW0603 - belongs to the process, as obstore's threads do
    _owner = os.getpid()
    try:
        fast = FastS3(bucket, plan)
    except DatasetError:
        raise
    except Exception as error:
        if type(error).__module__.startswith("obstore"):
            return None
        raise
    return fast if fast.trusts_server else None


def _open(bucket: str, plan: FastPlan, settings: Settings, *, endpoint: str, region: str) -> Any:
    from obstore.store import S3Store

    client: dict[str, Any] = {
        "allow_http": endpoint.startswith("http://"),
        "timeout": timedelta(seconds=_REQUEST_SECONDS),
        "connect_timeout": timedelta(seconds=plan.connect_timeout),
        "read_timeout": timedelta(seconds=plan.read_timeout),
    }
    if settings.authorities:
        client["root_certificate"] = Path(settings.authorities).read_text()
    if not settings.verify:
        client["allow_invalid_certificates"] = True
    config: dict[str, Any] = {
        **plan.config,
        # All that obstore would else take from the environment, where botocore reads it otherwise.
        "endpoint": endpoint,
        "region": region,
        "virtual_hosted_style_request": False,
        "skip_signature": settings.credentials is None,
    }
    provider: Any = settings.credentials
    return S3Store(
        bucket,
        config=config,  # pyright: ignore[reportArgumentType] - checked by obstore itself
        client_options=client,  # pyright: ignore[reportArgumentType] - likewise
        retry_config={
            "max_retries": _MAX_RETRIES,
            "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
            "backoff": {
                "init_backoff": timedelta(seconds=0.2),
                "max_backoff": timedelta(seconds=10),
                "base": 3,
            },
        },
        credential_provider=provider,
    )


def _address(bucket: str, settings: Settings) -> tuple[str, str]:
    """Return endpoint and region; Amazon's buckets know theirs better than any configuration."""
    if settings.endpoint:
        return settings.endpoint.rstrip("/"), settings.region or "us-east-1"
    region = bucket_region(bucket, settings.region or "us-east-1")
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://s3.{region}.{domain}", region


def bucket_region(
    bucket: str, default: str, *, connection: http.client.HTTPConnection | None = None
) -> str:
    """Return the region that Amazon says a bucket is in; `default` if it doesn't say."""
    import http.client

    domain = "amazonaws.com.cn" if default.startswith("cn-") else "amazonaws.com"
    connection = connection or http.client.HTTPSConnection(f"s3.{default}.{domain}", timeout=5)
    try:
        connection.request("HEAD", f"/{bucket}")
        reply = connection.getresponse()
        reply.read()
        return reply.getheader("x-amz-bucket-region") or default
    except (OSError, http.client.HTTPException):
        return default
    finally:
        connection.close()


def _obstore() -> Any:
    import obstore

    return obstore


def _info(found: Any) -> ObjectInfo:
    modified, etag = found["last_modified"].timestamp(), bare_etag(found["e_tag"])
    return ObjectInfo(found["path"], found["size"], modified, etag)


def _accepted(data: Buffer) -> Any:
    """Return `data` as obstore takes it: a contiguous buffer of bytes."""
    if isinstance(data, bytes):
        return data
    return memoryview(data).cast("B")
