"""Which versions exist: finding one, and making one exist.

What the rest of the engine needs of records and aliases has its names here too.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from prefect_datasets.core.errors import (
    AccessDeniedError,
    AlreadyPublishedError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StoreError,
)
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import Package, PackagesRecord, VersionRecord
from prefect_datasets.core.uri import LATEST, DatasetUri
from prefect_datasets.core.versions.aliases import check_free_for_alias, move_alias, read_alias
from prefect_datasets.core.versions.records import (
    deleted_digest,
    new_id,
    now,
    read_optional,
    read_packages,
    read_record,
    read_versions,
    record_times,
    with_later_packages,
)

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store

__all__ = [
    "DatasetVersion",
    "check_can_commit",
    "check_free_for_alias",
    "commit",
    "commit_packages",
    "deleted_digest",
    "find",
    "move_alias",
    "name_was_deleted",
    "new_id",
    "now",
    "read_record",
    "same_or_raise",
]

# Stores tell an object's time to the second: records this close are read to order them.
_TIE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """A published version, as a caller sees it.

    Attributes:
        uri: `dataset://name/version`.
        n_files: Number of files.
        n_bytes: Sum of the files' sizes.
        packages: The packages it can be fetched from; empty if it is not packaged.
        digest: Digest of its files: of every path, size and content.
        created: When it was committed: ISO 8601, UTC.
        parent: URI of the version it was made from, or an empty string.
    """

    uri: str
    n_files: int
    n_bytes: int
    packages: tuple[Package, ...]
    digest: str
    created: str
    parent: str

    @classmethod
    def from_record(cls, record: VersionRecord) -> Self:
        """Take what a caller needs from a commit record."""
        return cls(
            uri=str(record.uri),
            n_files=record.n_files,
            n_bytes=record.n_bytes,
            packages=record.packages,
            digest=record.digest,
            created=record.created,
            parent=record.parent,
        )


# -- reading ----------------------------------------------------------------------------------


def find(store: Store, uri: DatasetUri) -> VersionRecord:
    """Return the record of the version that `uri` names, directly, by alias or as `latest`.

    Packages that were made after the commit are part of it.

    Raises:
        NotFoundError: There is no such version, or the alias names a deleted one.
    """
    if uri.version == LATEST:
        return with_later_packages(store, _latest(store, uri.dataset))
    record = read_record(store, uri)
    if record is None:
        record = _by_alias(store, uri)
    return with_later_packages(store, record)


def _latest(store: Store, dataset: str) -> VersionRecord:
    times = list(record_times(store, dataset))
    if not times:
        raise NotFoundError(
            "The dataset has no version",
            subject=f"{dataset} in {store.url}",
            hint="`prefect-datasets list` shows the datasets of a store.",
        )
    newest = max(modified for _, modified in times)
    names = [name for name, modified in times if modified >= newest - _TIE_SECONDS]
    versions = read_versions(store, dataset, names)
    for fault in versions.faults:  # an older version in its place would be a silent mistake
        raise type(fault)(
            f"The record that may be the latest can't be read: {fault.message}",
            subject=fault.subject,
            hint=f"{fault.hint} Other versions can be named: `prefect-datasets list {dataset}`.",
        ) from fault
    if not versions.records:  # deleted between the listing and the reading
        return _latest(store, dataset)
    return versions.records[-1]


def _by_alias(store: Store, uri: DatasetUri) -> VersionRecord:
    target = read_alias(store, uri)
    if target is None:
        _check_bucket(store)
        raise NotFoundError(
            "No such dataset version",
            subject=f"{uri} in {store.url}",
            hint=f"`prefect-datasets list {uri.dataset}` shows the versions of the dataset.",
        )
    record = read_record(store, DatasetUri(uri.dataset, target))
    if record is None:
        raise NotFoundError(
            f"The alias {uri.version!r} stands for version {target!r}, which was deleted",
            subject=f"{uri} in {store.url}",
            hint="Move the alias to another version with `prefect-datasets alias`.",
        )
    return record


def _check_bucket(store: Store) -> None:
    """Raise if the whole bucket is missing: stores answer alike for one of its objects."""
    with suppress(AccessDeniedError):  # to read need not mean to list
        next(store.list(keys.DATASETS), None)


# -- committing -------------------------------------------------------------------------------


def check_can_commit(store: Store, uri: DatasetUri) -> VersionRecord | None:
    """Return the record of a version that exists already, else None.

    Raises:
        InvalidInputError: An alias has the name.
    """
    existing = read_record(store, uri)
    if existing is None and (target := read_alias(store, uri)) is not None:
        raise InvalidInputError(
            f"{uri.version!r} is an alias, of version {target!r}",
            subject=str(uri),
            hint="Versions and aliases share their names: choose another version name.",
        )
    return existing


def commit(store: Store, record: VersionRecord) -> VersionRecord:
    """Make a version exist with one create-only write; return the record that counts.

    That is the other's, where one with the same files was committed meanwhile.

    Raises:
        AlreadyPublishedError: The name is taken by a version with other files.
    """
    key = keys.record_key(record.uri)
    if _was_deleted(store, record) and store.info(key) is None:
        # Of the version that had the name, maybe in other parts; a killed deletion leaves them.
        store.delete([keys.packages_key(record.uri)])
    try:
        _create(store, key, record.to_json())
    except (ConflictError, StoreError) as error:
        # Even a refusal may be the answer to a retry of one's own write: the record itself tells.
        existing = _look_after_failure(store, record.uri, error)
        return same_or_raise(existing, record.digest)
    if store.ignores_conditions():
        existing = read_record(store, record.uri)
        return same_or_raise(existing, record.digest) if existing else record
    return record


def same_or_raise(existing: VersionRecord, digest: str) -> VersionRecord:
    """Return a version that exists if its files are the given ones.

    Raises:
        AlreadyPublishedError: They differ.
    """
    if existing.digest == digest:
        return existing
    raise AlreadyPublishedError(
        f"The version exists with other files, since {existing.created[:19]}Z",
        subject=str(existing.uri),
        hint="Versions are immutable: publish under a new version name.",
    )


def commit_packages(store: Store, record: VersionRecord, later: PackagesRecord) -> None:
    """Record packages that were made for a committed version; another's are as good.

    Raises:
        NotFoundError: The version was deleted meanwhile; then nothing is recorded.
    """
    key = keys.packages_key(record.uri)
    try:
        _create(store, key, later.to_json())
    except (ConflictError, StoreError):
        if read_packages(store, record) is None:
            raise
    # A deletion looks for packages after the record is gone: so one of the two sees the other.
    found = read_record(store, record.uri)
    if found is None or found.attempt != record.attempt:
        _withdraw_packages(store, key, later)
        raise NotFoundError(
            "The version was deleted while its packages were made",
            subject=str(record.uri),
            hint="`gc` frees the packages. If the version was published anew, package that.",
        )


def _withdraw_packages(store: Store, key: str, later: PackagesRecord) -> None:
    data = read_optional(store, key)
    if data is not None and PackagesRecord.from_json(data, key=key).attempt == later.attempt:
        store.delete([key])


def _create(store: Store, key: str, data: bytes) -> None:
    if store.ignores_conditions() and read_optional(store, key) is not None:
        raise ConflictError("An object is there already", subject=key)
    store.create(key, data)


def _look_after_failure(store: Store, uri: DatasetUri, error: StoreError) -> VersionRecord:
    existing = read_record(store, uri)
    if existing is None:
        raise error
    return existing


def _was_deleted(store: Store, record: VersionRecord) -> bool:
    """Tell whether a version of this name with the same files was deleted.

    Raises:
        AlreadyPublishedError: One with other files was.
    """
    digest = deleted_digest(store, record.uri)
    if digest is not None and digest != record.digest:
        raise name_was_deleted(record.uri)
    return digest is not None


def name_was_deleted(uri: DatasetUri) -> AlreadyPublishedError:
    """Return the error for other files under the name of a deleted version."""
    return AlreadyPublishedError(
        "The version was deleted, and its name can come back only with the same files",
        subject=str(uri),
        hint="Caches may still hold the old files: publish under a new version name.",
    )
