"""Which versions exist: commit records, aliases, `latest`, deletion."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from prefect_datasets.core.errors import (
    AccessDeniedError,
    AlreadyPublishedError,
    ConflictError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StoreError,
)
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import AliasRecord, Package, PackagesRecord, VersionRecord
from prefect_datasets.core.uri import LATEST, DatasetUri, check_alias_name

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store

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


def now() -> str:
    """Return the time as records keep it: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def new_id() -> str:
    """Return a new id of an execution or a commit: a UUID whose first 48 bits are the time."""
    stamp = int(datetime.now(UTC).timestamp() * 1000)
    tail = uuid.uuid4().int & ((1 << 80) - 1)
    return str(uuid.UUID(int=stamp << 80 | tail))


# -- reading ----------------------------------------------------------------------------------


def find(store: Store, uri: DatasetUri) -> VersionRecord:
    """Return the record of the version that `uri` names, directly, by alias or as `latest`.

    Packages that were made after the commit are part of it.

    Raises:
        NotFoundError: There is no such version, or the alias names a deleted one.
    """
    if uri.version == LATEST:
        return _with_later_packages(store, _latest(store, uri.dataset))
    record = read_record(store, uri)
    if record is None:
        record = _by_alias(store, uri)
    return _with_later_packages(store, record)


def read_record(store: Store, uri: DatasetUri) -> VersionRecord | None:
    """Return the commit record of exactly this version, or None."""
    key = keys.record_key(uri)
    data = _read(store, key)
    if data is None:
        return None
    record = VersionRecord.from_json(data, key=key)
    if record.uri != uri:
        raise IntegrityError(
            f"The record names another version, {record.uri}",
            subject=key,
            hint="Objects were moved by hand; restore the original layout.",
        )
    return record


def read_alias(store: Store, uri: DatasetUri) -> str | None:
    """Return the version name that the alias `uri` stands for, or None."""
    key = keys.alias_key(uri)
    data = _read(store, key)
    return AliasRecord.from_json(data, key=key).target if data is not None else None


def list_datasets(store: Store) -> list[str]:
    """Return the names of all datasets that have a version, sorted."""
    names = store.list_folders(keys.DATASETS)
    return sorted(name for name in names if any(True for _ in _record_times(store, name)))


def list_versions(store: Store, dataset: str) -> list[VersionRecord]:
    """Return the records of all versions of a dataset, oldest first."""
    names = [name for name, _ in _record_times(store, dataset)]
    records = [read_record(store, DatasetUri(dataset, name)) for name in names]
    return sorted((r for r in records if r), key=lambda r: (r.created, r.uri.version))


def list_aliases(store: Store, dataset: str) -> dict[str, str]:
    """Return alias -> version name for all aliases of a dataset."""
    prefix = keys.dataset_prefix(dataset) + "@"
    names = [
        info.key.removeprefix(prefix).removesuffix(".json")
        for info in store.list(keys.dataset_prefix(dataset))
        if info.key.startswith(prefix) and "/" not in info.key.removeprefix(prefix)
    ]
    found = {name: read_alias(store, DatasetUri(dataset, name)) for name in sorted(names)}
    return {name: target for name, target in found.items() if target is not None}


def _latest(store: Store, dataset: str) -> VersionRecord:
    times = list(_record_times(store, dataset))
    if not times:
        raise NotFoundError(
            "The dataset has no version",
            subject=f"{dataset} in {store.url}",
            hint="`prefect-datasets list` shows the datasets of a store.",
        )
    newest = max(modified for _, modified in times)
    names = [name for name, modified in times if modified >= newest - _TIE_SECONDS]
    records = [read_record(store, DatasetUri(dataset, name)) for name in names]
    there = [record for record in records if record]
    if not there:  # deleted between the listing and the reading
        return _latest(store, dataset)
    return max(there, key=lambda record: (record.created, record.uri.version))


def _record_times(store: Store, dataset: str) -> Iterator[tuple[str, float]]:
    """Yield version name and time of commit of each record of a dataset."""
    prefix = keys.dataset_prefix(dataset)
    for info in store.list(prefix):
        name = info.key.removeprefix(prefix)
        if name.endswith(".json") and "/" not in name and not name.startswith("@"):
            yield name.removesuffix(".json"), info.modified


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


def _with_later_packages(store: Store, record: VersionRecord) -> VersionRecord:
    if record.is_packaged or not record.parts:
        return record
    later = read_packages(store, record)
    if later is None:
        return record
    both = zip(record.parts, later.packages, strict=True)
    parts = tuple(replace(part, package=package) for part, package in both)
    return replace(record, parts=parts)


def read_packages(store: Store, record: VersionRecord) -> PackagesRecord | None:
    """Return the packages made after the version was committed, or None.

    Raises:
        IntegrityError: They were made for other files.
    """
    key = keys.packages_key(record.uri)
    data = _read(store, key)
    if data is None:
        return None
    later = PackagesRecord.from_json(data, key=key)
    if later.digest != record.digest or len(later.packages) != len(record.parts):
        raise IntegrityError(
            f"The packages were made for other files than those of {record.uri}",
            subject=key,
            hint="Delete the object; the version then resolves from its single files.",
        )
    return later


def _read(store: Store, key: str) -> bytes | None:
    try:
        return store.read(key)
    except NotFoundError:
        return None


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
    _check_tombstone(store, record)
    key = keys.record_key(record.uri)
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
    """Record packages that were made for a committed version; another's are as good."""
    key = keys.packages_key(record.uri)
    try:
        _create(store, key, later.to_json())
    except (ConflictError, StoreError):
        if read_packages(store, record) is None:
            raise


def _create(store: Store, key: str, data: bytes) -> None:
    if store.ignores_conditions() and _read(store, key) is not None:
        raise ConflictError("An object is there already", subject=key)
    store.create(key, data)


def _look_after_failure(store: Store, uri: DatasetUri, error: StoreError) -> VersionRecord:
    existing = read_record(store, uri)
    if existing is None:
        raise error
    return existing


def _check_tombstone(store: Store, record: VersionRecord) -> None:
    digest = deleted_digest(store, record.uri)
    if digest is not None and digest != record.digest:
        raise name_was_deleted(record.uri)


def name_was_deleted(uri: DatasetUri) -> AlreadyPublishedError:
    """Return the error for other files under the name of a deleted version."""
    return AlreadyPublishedError(
        "The version was deleted, and its name can come back only with the same files",
        subject=str(uri),
        hint="Caches may still hold the old files: publish under a new version name.",
    )


def deleted_digest(store: Store, uri: DatasetUri) -> str | None:
    """Return the digest that a deleted version of this name had, or None."""
    key = keys.tombstone_key(uri)
    data = _read(store, key)
    return VersionRecord.from_json(data, key=key).digest if data is not None else None


def list_deleted(store: Store, dataset: str, *, since: float) -> list[VersionRecord]:
    """Return the records of versions deleted after `since` (seconds since 1970)."""
    infos = store.list(f"{keys.dataset_prefix(dataset)}@deleted/")
    found = [info.key for info in infos if info.modified > since]
    return [VersionRecord.from_json(store.read(key), key=key) for key in found]


# -- aliases and deletion ---------------------------------------------------------------------


def set_alias(store: Store, uri: DatasetUri, alias: str) -> VersionRecord:
    """Make or move the alias `alias` to the version that `uri` names.

    Raises:
        InvalidInputError: A version has the name, or the name can't be an alias.
        NotFoundError: There is no version `uri`.
    """
    check_free_for_alias(store, DatasetUri(uri.dataset, alias))
    record = find(store, uri)
    move_alias(store, record.uri, alias)
    return record


def check_free_for_alias(store: Store, alias: DatasetUri) -> None:
    """Raise `InvalidInputError` where `alias` can't become an alias."""
    check_alias_name(alias.version, where=str(alias))
    if read_record(store, alias) is not None:
        raise InvalidInputError(
            f"{alias.version!r} is a version",
            subject=str(alias),
            hint="Versions and aliases share their names: choose another alias.",
        )


def move_alias(store: Store, version: DatasetUri, alias: str) -> None:
    """Point an alias at a version, with one write and no checks."""
    body = AliasRecord(target=version.version, updated=now()).to_json()
    store.write(keys.alias_key(DatasetUri(version.dataset, alias)), body)


@dataclass(frozen=True, slots=True)
class Deletion:
    """What deleting a version means.

    Attributes:
        record: The version, with packages that were made for it afterwards.
        aliases: Aliases that will name nothing afterwards.
        children: Versions of the dataset that were made from it; they keep all their files.
    """

    record: VersionRecord
    aliases: tuple[str, ...]
    children: tuple[str, ...]


def plan_delete(store: Store, uri: DatasetUri) -> Deletion:
    """Tell what deleting the version means; `uri` must name it directly, not by alias.

    Raises:
        NotFoundError: There is no such version.
        InvalidInputError: `uri` is an alias or `latest`.
    """
    record = read_record(store, uri)
    if record is None:
        target = find(store, uri).uri
        raise InvalidInputError(
            f"{uri.version!r} stands for version {target.version!r}",
            subject=str(uri),
            hint=f"To delete that version, name it: {target}.",
        )
    aliases = list_aliases(store, uri.dataset)
    children = [r.uri for r in list_versions(store, uri.dataset) if r.parent == str(uri)]
    return Deletion(
        record=_with_later_packages(store, record),
        aliases=tuple(name for name, target in aliases.items() if target == uri.version),
        children=tuple(str(child) for child in children),
    )


def delete(store: Store, deletion: Deletion) -> None:
    """Make a version not exist any more; `gc` frees what no other version uses."""
    record = deletion.record
    store.write(keys.tombstone_key(record.uri), record.to_json())
    store.delete([keys.record_key(record.uri), keys.packages_key(record.uri)])
