"""Which stored objects a plain URL or a datum's id means, and what they look like now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_datasets.core.columns import mask, strings
from prefect_datasets.core.errors import IntegrityError, InvalidInputError, NotFoundError
from prefect_datasets.core.format.tables import path_faults
from prefect_datasets.core.globs import Globs
from prefect_datasets.core.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prefect_datasets.core.store import ObjectInfo, Store
    from prefect_datasets.core.versions.datums import StoredFile

_WILDCARD = re.compile(r"[*?\[]")
_SAME_KIND = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "local": "file"}


@dataclass(frozen=True, slots=True)
class Item:
    """One file to be had.

    Attributes:
        path: Where it goes in a tree that keeps all folders.
        key: The object it is in.
        start: Where in the object it begins.
        n_bytes: Its size.
        stamp: What changes when its bytes do.
        sha256: Its digest in hex where it is known, else empty.
    """

    path: str
    key: str
    start: int
    n_bytes: int
    stamp: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a URL means now.

    Attributes:
        uri: The URL.
        store: Where the objects are.
        items: The files, by path.
        folder: The part of their paths before the first wildcard, with the `/` at its end.
    """

    uri: str
    store: Store
    items: tuple[Item, ...]
    folder: str


def list_url(url: str, *, like: Store) -> Listing:
    """List the objects that a URL with or without wildcards names.

    Args:
        url: Any that fsspec knows, with `*` for a level and `**` for all.
        like: A store whose options serve here as well if it is of the same kind.

    Raises:
        NotFoundError: There is none.
        InvalidInputError: The URL is none, or an object's key can't be a path here.
    """
    root, pattern = _split(url)
    options = like.__reduce__()[1][1] if _kind(root) == like.kind else {}
    store = open_store(root, options)
    folder = pattern[: pattern.rfind("/") + 1]
    wildcard = _WILDCARD.search(pattern)
    if wildcard is None:
        items = _single(store, pattern, url)
    else:
        literal = pattern[: wildcard.start()]
        folder = literal[: literal.rfind("/") + 1]
        items = _matching(store, folder, pattern, url)
    return Listing(url, store, items, folder)


def of_datum(uri: str, file: StoredFile, store: Store) -> Listing:
    """Return the one file that a datum's id names; it never changes."""
    digest = file.sha256.hex() if file.sha256 else ""
    at = file.stored
    item = Item(file.path, at.key, at.start, at.length, file.id, digest)
    return Listing(uri, store, (item,), file.path[: file.path.rfind("/") + 1])


def _single(store: Store, key: str, url: str) -> tuple[Item, ...]:
    info = None if key.endswith("/") else store.info(key)
    if info is None:
        raise NotFoundError(
            "No such object",
            subject=url,
            hint="To take all below a folder, end the URL with `/**`.",
        )
    return (_item(info),)


def _matching(store: Store, folder: str, pattern: str, url: str) -> tuple[Item, ...]:
    found = [info for info in store.list(folder) if not info.key.endswith("/")]
    matches = mask(Globs(pattern).filter(strings([info.key for info in found])))
    items = (_item(info) for info, fits in zip(found, matches.tolist(), strict=True) if fits)
    chosen = tuple(sorted(items, key=lambda item: item.path.encode()))
    if not chosen:
        raise NotFoundError(
            f"None of {len(found)} objects matches",
            subject=url,
            hint="`*` matches within a folder, `**` across folders.",
        )
    _check_paths(chosen, url)
    return chosen


def _check_paths(items: Iterable[Item], url: str) -> None:
    if faults := path_faults(strings([item.path for item in items])):
        raise IntegrityError(
            f"Objects have keys that can't be paths of files ({'; '.join(faults[:3])})",
            subject=url,
            hint="Leave them out with a narrower pattern.",
        )


def _item(info: ObjectInfo) -> Item:
    return Item(info.key, info.key, 0, info.n_bytes, f"{info.n_bytes} {info.modified}")


def _kind(url: str) -> str:
    scheme = url.partition("://")[0]
    return _SAME_KIND.get(scheme, scheme)


def _split(url: str) -> tuple[str, str]:
    """Return the URL of the bucket, or of the folder on a disk, and what comes below it."""
    scheme, separator, rest = url.partition("://")
    is_bucket_alone = _kind(url) != "file" and not rest.partition("/")[2]
    if not separator or not rest.strip("/") or is_bucket_alone:
        raise InvalidInputError(
            "Not a URL of files",
            subject=url,
            hint="Write dataset://NAME/VERSION, datum://ID or a URL such as s3://BUCKET/*.csv.",
        )
    if _kind(url) != "file":
        bucket, _, pattern = rest.partition("/")
        return f"{scheme}://{bucket}", pattern
    wildcard = _WILDCARD.search(rest)
    literal = rest[: wildcard.start()] if wildcard else rest
    cut = literal.rfind("/") + 1
    return f"file://{rest[:cut]}", rest[cut:]
