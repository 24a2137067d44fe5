"""Publish what lies below a prefix of a store, without a copy on this machine.

    plan_prefix  ->  begin  ->  publish_part for each part  ->  commit

The plan differs from that of a directory in where the files are read: its parts name the store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import Bools, bool_array, number_array, numbers
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format import keys
from prefect_datasets.core.metadata.read import read_declarations
from prefect_datasets.core.metadata.scan_prefix import PrefixScan, scan_prefix
from prefect_datasets.core.publish.plan import Plan, Planner, all_files_to
from prefect_datasets.core.publish.plan_version import Policy
from prefect_datasets.core.store import open_store
from prefect_datasets.core.store_spec import StoreSpec, identity
from prefect_datasets.core.versions import catalog

if TYPE_CHECKING:
    from prefect_datasets.core.metadata.declarations import Declarations, VersionDeclaration
    from prefect_datasets.core.store import Store

_WILDCARD = re.compile(r"[*?\[]")
_OTHER_SCHEMES = ("http", "https", "dataset", "datum")
_SAME_KIND = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "local": "file"}


class Prefix(NamedTuple):
    """Where objects lie, and which of them are meant.

    Attributes:
        root: URL of the folder that the files' paths begin below.
        include: Patterns of the paths; empty for all.
    """

    root: str
    include: tuple[str, ...] = ()


def read_prefix(url: str, include: Sequence[str] = ()) -> Prefix:
    """Read a URL that may end with a pattern, such as `s3://bucket/raw/**.jpg`.

    A pattern begins with the first folder that has a `*`, `?` or `[` in it.

    Args:
        url: The URL.
        include: Patterns that are given besides.

    Raises:
        InvalidInputError: It is no URL of a store, or there are patterns in both.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not rest.strip("/") or scheme in _OTHER_SCHEMES:
        raise InvalidInputError(
            "Not the URL of a prefix",
            subject=_shown(url),
            hint="Write it as in s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or az://CONTAINER/FOLDER.",
        )
    if _kind(url) == "file":
        raise InvalidInputError(
            "A folder is no prefix of a store", subject=url, hint="Publish it as a directory."
        )
    wildcard = _WILDCARD.search(url)
    if wildcard is None:
        return Prefix(url, tuple(include))
    if include:
        raise InvalidInputError(
            "The URL has a pattern, and others are given besides",
            subject=_shown(url),
            hint="Write the folder as URL and all patterns as those that are included.",
        )
    cut = url.rfind("/", 0, wildcard.start()) + 1
    if cut <= len(scheme) + len("://"):
        raise InvalidInputError("A pattern can't name the bucket", subject=_shown(url))
    return Prefix(url[:cut].rstrip("/"), (url[cut:],))


def _shown(url: str) -> str:
    """Return a URL without the user and the password that may stand in it."""
    return re.sub(r"//[^/]*@", "//", url, count=1)


def plan_prefix(
    url: str,
    *,
    store: Store,
    options: Mapping[str, object] | None = None,
    include: Sequence[str] = (),
    to: Sequence[VersionDeclaration] | None = None,
    policy: Policy | None = None,
    execution: str | None = None,
    strict: bool = True,
    read_all: bool = False,
) -> Plan:
    """Plan the publishing of what lies below a prefix; nothing is stored, and no object read.

    Metadata files are the exception: they are read. Objects in no version stay where they are.

    Args:
        url: The prefix, any fsspec URL; `*`, `**` and `?` behind a folder choose among its objects.
        store: Where to publish.
        options: Of the prefix's filesystem; left out, those of `store` if of the same kind.
        include: Patterns of the objects that are wanted, relative to the prefix; left out, all.
        to: The versions that get all these objects; left out, the metadata below the prefix says
            which.
        policy: How to publish.
        execution: Id of the execution; left out, a new one.
        strict: Whether faulty metadata is an error; else it is left out with a warning.
        read_all: Read objects too whose size and ETag are those that they were published with.

    Raises:
        InvalidInputError: The URL, a name or the metadata is wrong; all faults in one error.
        AlreadyPublishedError: A version exists with other files.
        NotFoundError: A base does not exist, or the bucket does not.
        SourceChangedError: A metadata file changed while it was read.
    """
    found = _find(read_prefix(url, include), store, options)
    declarations = read_declarations(found, strict=strict)
    if to is not None:
        declarations = all_files_to(to, declarations, found.listing.num_rows)
    if found.is_included is not None:
        declarations = _narrowed(declarations, found.is_included)
    planner = Planner(
        found.store.url,
        store,
        policy or Policy(),
        execution or catalog.new_id(),
        origin=found.store,
        reads_all=read_all or not found.has_etags,
    )
    planner.warnings.extend([*found.warnings, *declarations.warnings])
    return planner.plan(_settled(found), declarations)


def _find(prefix: Prefix, store: Store, options: Mapping[str, object] | None) -> PrefixScan:
    origin = open_store(prefix.root, _options(prefix.root, store) if options is None else options)
    found = scan_prefix(origin, include=prefix.include)
    _check_is_not_the_store(found, store)
    return found


def _settled(found: PrefixScan) -> PrefixScan:
    """Return the objects that are asked for alone, with stamps to be kept where these last."""
    listing = found.listing
    if found.is_included is not None:
        listing = listing.filter(bool_array(found.is_included))
    if found.has_etags:
        listing = listing.append_column("stamp", listing["modified"])
    return replace(found, listing=listing)


def _options(root: str, like: Store) -> Mapping[str, object]:
    return like.options if _kind(root) == _kind(like.url) else {}


def _kind(url: str) -> str:
    scheme = url.partition("://")[0]
    return _SAME_KIND.get(scheme, scheme)


def _narrowed(declared: Declarations, keep: Bools) -> Declarations:
    """Return what is said of the rows that are kept; versions that have none of them go."""
    row_now = np.cumsum(keep, dtype=np.int32) - 1

    def kept(rows: pa.Array) -> pa.Array:
        there = numbers(rows, np.int32)
        return number_array(row_now[there[keep[there]]], pa.int32())

    members = {uri: kept(rows) for uri, rows in declared.members.items()}
    gone = {uri for uri, rows in members.items() if not len(rows) and len(declared.members[uri])}
    return replace(
        declared,
        versions=tuple(version for version in declared.versions if version.uri not in gone),
        members=members,
        metadata=declared.metadata.filter(bool_array(keep)),
    )


def _check_is_not_the_store(found: PrefixScan, store: Store) -> None:
    """Refuse what the store itself is made of: it changes with every publish."""
    origin = found.store
    inside = _folder(store).removeprefix(_folder(origin))
    if _server(origin) != _server(store) or not _folder(store).startswith(_folder(origin)):
        return
    paths = found.listing["path"]
    if found.is_included is not None:
        paths = paths.filter(bool_array(found.is_included))
    for folder in (keys.OUTPUTS, keys.DATASETS, keys.DATUMS):
        if pc.any(pc.starts_with(paths, f"{inside}{folder}")).as_py():
            raise InvalidInputError(
                "The store itself lies below the prefix",
                subject=origin.url_of(f"{inside}{folder}"),
                hint="Name a folder beside it, or patterns that leave it out.",
            )


def _server(store: Store) -> str:
    return identity(StoreSpec(f"{store.kind}://{store.bucket}", store.options))


def _folder(store: Store) -> str:
    """Return a store's root in its bucket, with a `/` at its end unless it is the bucket."""
    path = store.url.partition("://")[2].partition("/")[2].strip("/")
    return f"{path}/" if path else ""
