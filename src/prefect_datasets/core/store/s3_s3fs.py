"""The dependable way to S3: s3fs with botocore below it, which knows every option."""

# ruff: noqa: PLC0415 - clients are slow to load, and only some stores need them

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.store.base import ObjectInfo, bare_etag
from prefect_datasets.core.store.s3_options import (
    CONNECT_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    config_file,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

# s3fs repeats what botocore gave up after five tries: 25 tries on a busy store, unless told.
_S3FS_TRIES = 2
_CONNECTIONS = 32
_DELETE_PAGE = 1000
_CHECKSUMS = "AWS_REQUEST_CHECKSUM_CALCULATION"


class S3fsS3:
    """One bucket through s3fs; keys are the bucket's own.

    Each process has a filesystem object of its own: its event loop does not survive a fork.
    """

    def __init__(self, bucket: str, options: Mapping[str, Any]) -> None:
        self._bucket = bucket
        self._options = options
        self._filesystems: dict[int, Any] = {}

    @property
    def fs(self) -> Any:
        """The filesystem of this process."""
        return self._filesystems.get(os.getpid()) or self._filesystems.setdefault(
            os.getpid(), _open(self._options)
        )

    def call(self, method: str, **arguments: Any) -> Any:
        """Call one operation of botocore's S3 client on the bucket, with the users' options."""
        return self.fs.call_s3(method, Bucket=self._bucket, **arguments)

    @property
    def wants_checksums(self) -> bool:
        """Whether uploads carry checksums: so unless the user says otherwise."""
        config: dict[str, Any] = self._options.get("config_kwargs") or {}
        told = config.get("request_checksum_calculation") or os.environ.get(_CHECKSUMS)
        if told is None and config_file().exists():
            # The file may say so, in a profile or not; botocore is slow to load, but knows.
            told = _client(self.fs).meta.config.request_checksum_calculation
        return told is None or str(told).lower() == "when_supported"

    def read(self, key: str) -> bytes:
        """Return a whole object."""
        return self.fs.cat_file(f"{self._bucket}/{key}")

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes: less where the object ends."""
        return self.fs.cat_file(f"{self._bucket}/{key}", start=start, end=start + length)

    def info(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        try:
            found = self.call("head_object", Key=key)
        except FileNotFoundError:
            return None
        modified = found["LastModified"].timestamp()
        return ObjectInfo(key, found["ContentLength"], modified, bare_etag(found.get("ETag")))

    def list(self, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects below a folder, a page at a time, in order from `start_after` on."""
        for page in self._pages(prefix, **({"StartAfter": start_after} if start_after else {})):
            for found in page.get("Contents", ()):
                modified = found["LastModified"].timestamp()
                yield ObjectInfo(
                    found["Key"], found["Size"], modified, bare_etag(found.get("ETag"))
                )

    def list_folders(self, prefix: str) -> Sequence[str]:
        """Return the folders directly below a folder, with their whole path."""
        pages = self._pages(prefix, Delimiter="/")
        return [found["Prefix"] for page in pages for found in page.get("CommonPrefixes", ())]

    def write(self, key: str, data: Buffer) -> None:
        """Write an object with one request."""
        self.call("put_object", Key=key, Body=bytes(data))

    def create(self, key: str, data: bytes) -> None:
        """Write an object with one request that is refused if there is one."""
        self.call("put_object", Key=key, Body=data, IfNoneMatch="*")

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, a thousand with a request."""
        for first in range(0, len(keys), _DELETE_PAGE):
            names = [{"Key": key} for key in keys[first : first + _DELETE_PAGE]]
            reply = self.call("delete_objects", Delete={"Objects": names, "Quiet": True})
            if errors := reply.get("Errors"):
                raise _refusal(errors[0])

    def copy(self, source: str, target: str) -> None:
        """Copy an object of at most 5 GiB."""
        self.call("copy_object", Key=target, CopySource={"Bucket": self._bucket, "Key": source})

    def _pages(self, prefix: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        page: Mapping[str, Any] = self.call("list_objects_v2", Prefix=prefix, **arguments)
        yield page
        while token := page.get("NextContinuationToken"):
            page = self.call("list_objects_v2", Prefix=prefix, ContinuationToken=token, **arguments)
            yield page


def _open(options: Mapping[str, Any]) -> Any:
    import s3fs

    given: dict[str, Any] = options.get("config_kwargs") or {}
    config: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "read_timeout": READ_TIMEOUT_SECONDS,
        "max_pool_connections": _CONNECTIONS,
        **given,
    }
    always: dict[str, Any] = {
        "config_kwargs": config,
        "use_listings_cache": False,
        "skip_instance_cache": True,
    }
    fs = s3fs.S3FileSystem(**{**options, **always})
    fs.retries = _S3FS_TRIES
    return fs


def _client(fs: Any) -> Any:
    """Return botocore's client below `fs`."""
    return fs.s3


def _refusal(error: Mapping[str, Any]) -> Exception:
    """Return the error of one key of a bulk request as botocore would raise it alone."""
    from botocore.exceptions import ClientError  # pyright: ignore[reportMissingTypeStubs]

    reply: Any = {"Error": dict(error), "ResponseMetadata": {"HTTPStatusCode": 0}}
    return ClientError(reply, "DeleteObjects")
