"""A store that is not opened yet: a resolve from the cache needs its name, not the store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store

# What else than the URL says which server answers; secrets are not among them.
_ADDRESS_OPTIONS = (
    "endpoint_url",
    "endpoint",
    "profile",
    "account_name",
    "account_host",
    "project",
    "host",
    "port",
)
_ADDRESS_VARIABLES = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_PROFILE"),
    "gs": ("STORAGE_EMULATOR_HOST",),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME",),
}
_SAME_KIND = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az"}


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """Where a store is and how to open it.

    Attributes:
        url: Its root, any fsspec URL; a plain path is a folder.
        options: Options of the filesystem.
    """

    url: str
    options: Mapping[str, object] = field(default_factory=dict[str, object])

    def open(self) -> Store:
        """Open the store."""
        from prefect_datasets.core.store import open_store  # noqa: PLC0415  (a warm resolve opens none)

        return open_store(self.url, self.options)


def identity(store: Store | StoreSpec) -> str:
    """Return a name for the store that no other store has, as far as this machine can tell."""
    url, options = _address(store)
    kind, rest = _split(url)
    named = [f"{kind}://{rest}"]
    named += [f"{key}={value}" for key, value in _address_options(options)]
    named += [f"{key}={os.environ.get(key, '')}" for key in _ADDRESS_VARIABLES.get(kind, ())]
    if kind == "memory":  # ends with the process
        named.append(f"pid={os.getpid()}")
    return hashlib.sha256("\n".join(named).encode()).hexdigest()[:32]


def local_root(store: Store | StoreSpec) -> str | None:
    """Return the folder of a store on a local file system, else None."""
    kind, rest = _split(store.url)
    return rest if kind == "file" else None


def _address(store: Store | StoreSpec) -> tuple[str, Mapping[str, Any]]:
    if isinstance(store, StoreSpec):
        return store.url, store.options
    _, (url, options) = store.__reduce__()  # a store pickles as its URL and options
    return url, options


def _split(url: str) -> tuple[str, str]:
    """Return the kind of store and its root, the same for all ways to write them."""
    kind, separator, rest = url.partition("://")
    if not separator or kind in ("file", "local"):
        return "file", os.path.abspath(os.path.expanduser(rest if separator else url))  # noqa: PTH100, PTH111
    bucket, slash, prefix = rest.partition("/")
    bare = bucket.rpartition("@")[2]  # user and password
    return _SAME_KIND.get(kind, kind), f"{bare}{slash}{prefix}".rstrip("/")


def _address_options(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    both: dict[str, Any] = {**(options.get("client_kwargs") or {}), **options}
    return sorted((key, str(both[key])) for key in _ADDRESS_OPTIONS if both.get(key))
