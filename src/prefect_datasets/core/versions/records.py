"""The records of a dataset as they lie in the store: one version's, and all of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import (
    DatasetError,
    IntegrityError,
    NotFoundError,
    UnsupportedFormatError,
)
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import PackagesRecord, VersionRecord
from prefect_datasets.core.uri import DatasetUri

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store

# What is wrong with one record and says nothing about the others, unlike a store that fails.
UNREADABLE = (IntegrityError, UnsupportedFormatError)


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a dataset.

    Attributes:
        records: The records that can be read, oldest first.
        faults: What is wrong with the others: an error each.
    """

    records: tuple[VersionRecord, ...]
    faults: tuple[DatasetError, ...] = ()

    def all_or_raise(self) -> tuple[VersionRecord, ...]:
        """Return the records where all can be read.

        Raises:
            IntegrityError: One is damaged.
            UnsupportedFormatError: A newer release wrote one.
        """
        for fault in self.faults:
            raise fault
        return self.records


def now() -> str:
    """Return the time as records keep it: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def new_id() -> str:
    """Return a new id of an execution or a commit: a UUID whose first 48 bits are the time."""
    stamp = int(datetime.now(UTC).timestamp() * 1000)
    tail = uuid.uuid4().int & ((1 << 80) - 1)
    return str(uuid.UUID(int=stamp << 80 | tail))


def read_optional(store: Store, key: str) -> bytes | None:
    """Return an object, or None where there is none."""
    try:
        return store.read(key)
    except NotFoundError:
        return None


# -- one version ------------------------------------------------------------------------------


def read_record(store: Store, uri: DatasetUri) -> VersionRecord | None:
    """Return the commit record of exactly this version, or None."""
    key = keys.record_key(uri)
    data = read_optional(store, key)
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


def read_packages(store: Store, record: VersionRecord) -> PackagesRecord | None:
    """Return the packages made after the version was committed, or None.

    Raises:
        IntegrityError: They were made for other files.
    """
    key = keys.packages_key(record.uri)
    data = read_optional(store, key)
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


def with_later_packages(store: Store, record: VersionRecord) -> VersionRecord:
    """Return the record with the packages that were made after the commit."""
    if record.is_packaged or not record.parts:
        return record
    later = read_packages(store, record)
    if later is None:
        return record
    both = zip(record.parts, later.packages, strict=True)
    parts = tuple(replace(part, package=package) for part, package in both)
    return replace(record, parts=parts)


# -- all versions of a dataset ----------------------------------------------------------------


def list_datasets(store: Store) -> list[str]:
    """Return the names of all datasets that have a version, sorted."""
    names = store.list_folders(keys.DATASETS)
    return sorted(name for name in names if any(True for _ in record_times(store, name)))


def list_versions(store: Store, dataset: str) -> Versions:
    """Return all versions of a dataset, oldest first."""
    return read_versions(store, dataset, [name for name, _ in record_times(store, dataset)])


def read_versions(store: Store, dataset: str, names: list[str]) -> Versions:
    """Return the named versions of a dataset, oldest first; those that are gone are left out."""
    from prefect_datasets.core.store.transfers import run_all  # noqa: PLC0415 - not for one record

    def read(name: str) -> VersionRecord | DatasetError | None:
        try:
            return read_record(store, DatasetUri(dataset, name))
        except UNREADABLE as error:
            return error

    read_all = run_all(read, names, n_threads=store.n_threads)
    found = [each for each in read_all if isinstance(each, VersionRecord)]
    faults = tuple(each for each in read_all if isinstance(each, DatasetError))
    return Versions(tuple(sorted(found, key=_age)), faults)


def record_times(store: Store, dataset: str) -> Iterator[tuple[str, float]]:
    """Yield version name and time of commit of each record of a dataset."""
    prefix = keys.dataset_prefix(dataset)
    for info in store.list(prefix):
        name = info.key.removeprefix(prefix)
        if name.endswith(".json") and "/" not in name and not name.startswith("@"):
            yield name.removesuffix(".json"), info.modified


def _age(record: VersionRecord) -> tuple[str, str]:
    return record.created, record.uri.version


# -- deleted versions -------------------------------------------------------------------------


def deleted_digest(store: Store, uri: DatasetUri) -> str | None:
    """Return the digest that a deleted version of this name had, or None."""
    key = keys.tombstone_key(uri)
    data = read_optional(store, key)
    return VersionRecord.from_json(data, key=key).digest if data is not None else None


def list_deleted(store: Store, dataset: str, *, since: float) -> list[VersionRecord]:
    """Return the records of versions deleted after `since` (seconds since 1970)."""
    infos = store.list(f"{keys.dataset_prefix(dataset)}@deleted/")
    found = [info.key for info in infos if info.modified > since]
    return [VersionRecord.from_json(store.read(key), key=key) for key in found]
