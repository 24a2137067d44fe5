"""Places for objects: `open_store` opens one by its URL."""

# ruff: noqa: PLC0415 - clients are slow to load, and only some stores need them

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.store.base import ObjectInfo, Range, Store, Upload
from prefect_datasets.core.store.keys import key_of_path
from prefect_datasets.core.store.translate import missing_package

__all__ = ["ObjectInfo", "Range", "Store", "Upload", "key_of_path", "open_store"]

_S3 = ("s3", "s3a")
_GCS = ("gs", "gcs")
_AZURE = ("az", "abfs", "abfss")
# What is meant as a URL and would be taken for a folder: `s3:/bucket`, `s3//bucket`.
_MISWRITTEN = re.compile(rf"(?:{'|'.join((*_S3, *_GCS, *_AZURE, 'https?', 'file'))})(?::|//)")


def open_store(url: str, options: Mapping[str, object] | None = None) -> Store:
    """Open the store whose root is `url`; nothing is asked of it yet.

    Args:
        url: Any fsspec URL, such as `s3://bucket/prefix`; a plain path is a folder.
        options: Options of the filesystem, as s3fs, gcsfs or adlfs take them.

    Raises:
        InvalidInputError: The URL has no known scheme, or no bucket.
        StoreError: The package for this kind of store is missing.
    """
    scheme, separator, rest = url.partition("://")
    given = dict(options or {})
    if not separator or scheme in ("file", "local"):
        return _local(unquote(rest) if separator else url, given)
    if "::" not in url:
        if scheme in _S3:
            return _s3(rest, given)
        if scheme == "memory":
            from prefect_datasets.core.store.memory import MemoryStore

            return MemoryStore(f"memory://{rest.strip('/')}", given)
        if scheme in _GCS:
            _require(scheme, "gcsfs")
            from prefect_datasets.core.store.gcs import GcsStore

            return GcsStore(f"gs://{_with_bucket(rest)}", given)
        if scheme in _AZURE:
            _require(scheme, "adlfs")
            from prefect_datasets.core.store.azure import AzureStore

            return AzureStore(f"{scheme}://{_with_bucket(rest)}", given)
    from prefect_datasets.core.store.fsspec_store import GenericStore

    return GenericStore(url, given)


def _local(path: str, options: Mapping[str, object]) -> Store:
    from prefect_datasets.core.store.local import LocalStore

    if not path:
        raise InvalidInputError("A store needs a folder", hint="Write a path or a URL.")
    if _MISWRITTEN.match(path):
        hint = "Write it as in s3://BUCKET, or ./ before the name of a folder."
        raise InvalidInputError("A URL needs :// after its scheme", subject=path, hint=hint)
    try:
        root = Path(path).expanduser().absolute()
    except RuntimeError as error:
        hint = "Write the path of a folder, or ./~NAME for one of that name."
        raise InvalidInputError("No such user's home", subject=path, hint=hint) from error
    return LocalStore(root, options)


def _s3(rest: str, options: dict[str, Any]) -> Store:
    from prefect_datasets.core.store.s3 import S3Store
    from prefect_datasets.core.store.s3_options import check_endpoint

    user, at, place = rest.rpartition("@")
    if at and "/" not in user:
        key, _, secret = user.partition(":")
        options = {"key": unquote(key), "secret": unquote(secret), **options}
        rest = place
    bucket, _, prefix = _with_bucket(rest).partition("/")
    client: dict[str, Any] = options.get("client_kwargs") or {}
    if endpoint := options.get("endpoint_url") or client.get("endpoint_url"):
        check_endpoint(str(endpoint))
    return S3Store(bucket, prefix, options)


def _with_bucket(rest: str) -> str:
    """Return `rest` of a URL without a `/` at its end, if it begins with a bucket."""
    if not rest.partition("/")[0]:
        raise InvalidInputError("The URL of a store needs a bucket", hint="Write s3://BUCKET.")
    return rest.rstrip("/")


def _require(scheme: str, package: str) -> None:
    if find_spec(package) is None:
        raise missing_package(scheme)
