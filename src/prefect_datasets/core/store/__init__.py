"""Places for objects: `open_store` opens one by its URL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from prefect_datasets.core.store.base import ObjectInfo, Range, Store, Upload
from prefect_datasets.core.store.keys import key_of_path

__all__ = ["ObjectInfo", "Range", "Store", "Upload", "key_of_path", "open_store"]


def open_store(url: str, options: Mapping[str, object] | None = None) -> Store:
    """Open the store whose root is `url`; nothing is asked of it yet.

    Args:
        url: Any fsspec URL, such as `s3://bucket/prefix`; a plain path is a folder.
        options: Options of the filesystem, as s3fs, gcsfs or adlfs take them.

    Raises:
        InvalidInputError: The URL has no known scheme, or an option is wrong.
        StoreError: The package for this kind of store is missing.
    """
    options = options or {}
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _local(url, options)
    if scheme in ("file", "local"):
        return _local(unquote(rest), options)
    if scheme == "memory":
        from prefect_datasets.core.store.memory import MemoryStore

        return MemoryStore(rest.strip("/"), options)
    raise NotImplementedError


def _local(path: str, options: Mapping[str, object]) -> Store:
    from prefect_datasets.core.store.local import LocalStore

    return LocalStore(Path(path).expanduser().absolute(), options)
