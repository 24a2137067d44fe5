"""Deleting a version: what it means, and what stays behind so that its name keeps its meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import DatasetError, InvalidInputError
from prefect_datasets.core.format import keys
from prefect_datasets.core.versions.aliases import list_aliases
from prefect_datasets.core.versions.catalog import find
from prefect_datasets.core.versions.records import list_versions, read_record, with_later_packages

if TYPE_CHECKING:
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.uri import DatasetUri


@dataclass(frozen=True, slots=True)
class Deletion:
    """What deleting a version means.

    Attributes:
        record: The version, with packages that were made for it afterwards.
        aliases: Aliases that will name nothing afterwards.
        children: Versions of the dataset that were made from it; they keep all their files.
        faults: Versions and aliases that can't be read, so might be among these.
    """

    record: VersionRecord
    aliases: tuple[str, ...]
    children: tuple[str, ...]
    faults: tuple[DatasetError, ...] = ()


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
    versions = list_versions(store, uri.dataset)
    return Deletion(
        record=with_later_packages(store, record),
        aliases=aliases.of(uri.version),
        children=tuple(str(each.uri) for each in versions.records if each.parent == str(uri)),
        faults=(*versions.faults, *aliases.faults),
    )


def delete(store: Store, deletion: Deletion) -> None:
    """Make a version not exist any more; `gc` frees what no other version uses."""
    record = deletion.record
    store.write(keys.tombstone_key(record.uri), record.to_json())
    # In this order: the name may come back, in other parts, which those packages are not made of.
    store.delete([keys.packages_key(record.uri)])
    store.delete([keys.record_key(record.uri)])
    # Packages may have been recorded in between; who does it later sees that the record is gone.
    if store.info(keys.record_key(record.uri)) is None:
        store.delete([keys.packages_key(record.uri)])
