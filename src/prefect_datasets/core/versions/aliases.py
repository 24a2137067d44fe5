"""Aliases: names of a dataset that stand for one of its versions, and can be moved."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import DatasetError, IntegrityError, InvalidInputError
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import AliasRecord
from prefect_datasets.core.uri import DatasetUri, check_alias_name
from prefect_datasets.core.versions.records import UNREADABLE, now, read_optional, read_record

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store


@dataclass(frozen=True, slots=True)
class Aliases:
    """The aliases of a dataset.

    Attributes:
        targets: Alias -> version name, sorted by alias.
        faults: What is wrong with those that can't be read: an error each.
    """

    targets: dict[str, str]
    faults: tuple[DatasetError, ...] = ()

    def of(self, version: str) -> tuple[str, ...]:
        """Return the aliases that stand for a version."""
        return tuple(alias for alias, target in self.targets.items() if target == version)


@dataclass(frozen=True, slots=True)
class Moved:
    """An alias that was pointed at a version.

    Attributes:
        alias: Its name.
        version: What it names now.
        previous: Name of the version that it named before, or None.
    """

    alias: str
    version: DatasetUri
    previous: str | None


def read_alias(store: Store, uri: DatasetUri) -> str | None:
    """Return the version name that the alias `uri` stands for, or None.

    Raises:
        IntegrityError: It is damaged.
        UnsupportedFormatError: A newer release wrote it.
    """
    key = keys.alias_key(uri)
    data = read_optional(store, key)
    if data is None:
        return None
    try:
        return AliasRecord.from_json(data, key=key).target
    except IntegrityError as error:
        raise IntegrityError(
            "The alias is damaged",
            subject=key,
            hint="Point it at a version anew: "
            f"`prefect-datasets alias dataset://{uri.dataset}/VERSION {uri.version}`.",
        ) from error


def targets_of(store: Store, dataset: str, aliases: Iterable[str]) -> dict[str, str | None]:
    """Return for each alias what it stands for now; one that can't be read stands for nothing."""
    found: dict[str, str | None] = {}
    for alias in aliases:
        found[alias] = None
        with suppress(*UNREADABLE):
            found[alias] = read_alias(store, DatasetUri(dataset, alias))
    return found


def list_aliases(store: Store, dataset: str) -> Aliases:
    """Return all aliases of a dataset."""
    prefix = keys.dataset_prefix(dataset) + "@"
    names = [
        info.key.removeprefix(prefix).removesuffix(".json")
        for info in store.list(keys.dataset_prefix(dataset))
        if info.key.startswith(prefix) and "/" not in info.key.removeprefix(prefix)
    ]
    targets: dict[str, str] = {}
    faults: list[DatasetError] = []
    for name in sorted(names):
        try:
            target = read_alias(store, DatasetUri(dataset, name))
        except UNREADABLE as error:
            faults.append(error)
        else:
            targets |= {name: target} if target is not None else {}
    return Aliases(targets, tuple(faults))


def set_alias(store: Store, version: DatasetUri, alias: str) -> None:
    """Make or move an alias.

    Args:
        store: The store.
        version: A version that exists, by its own name: as `catalog.find` tells it.
        alias: The alias.

    Raises:
        InvalidInputError: A version has the name, or the name can't be an alias.
    """
    check_free_for_alias(store, DatasetUri(version.dataset, alias))
    move_alias(store, version, alias)


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
