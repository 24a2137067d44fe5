"""Versions that a schedule makes: which one a run makes, from which one, and where aliases point.

Runs come late, twice, again after a failure, or years later for a night that was missed. What is
right depends on when versions were due, not on when they were made, so a version says when it was
due, in a property. One that was made by hand counts as due when it was committed.

`base_of`, `alias_target` and `overtaken` decide and are pure; `look` and `settle_alias` read and
write the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.errors import IntegrityError
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import AliasRecord
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from prefect_datasets.core.versions.aliases import Moved
from prefect_datasets.core.versions.records import deleted_digest, list_versions, read_optional

if TYPE_CHECKING:
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.store import Store

PROPERTY = "prefect-datasets.scheduled"


@dataclass(frozen=True, slots=True, order=True)
class Dated:
    """A version and when it was due; they are ordered by that, then by name."""

    due: datetime
    version: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What a run that was due at some time finds.

    Attributes:
        uri: The version it is to make.
        due: When it was due.
        existing: The version, if it was made before.
        is_deleted: Whether it was made, and deleted since.
        base: The version to make it from, or None.
        n_later: How many versions were due later.
    """

    uri: DatasetUri
    due: datetime
    existing: VersionRecord | None
    is_deleted: bool
    base: DatasetUri | None
    n_later: int

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to make."""
        return self.existing is not None or self.is_deleted


# -- deciding ---------------------------------------------------------------------------------


def properties(due: datetime) -> dict[str, Any]:
    """Return what a version says of when it was due."""
    return {PROPERTY: due.astimezone(UTC).isoformat()}


def due_of(record: VersionRecord) -> datetime:
    """Return when a version was due: as it says, else when it was committed."""
    said = record.properties.get(PROPERTY)
    try:
        return _moment(said if isinstance(said, str) else record.created)
    except ValueError as error:
        raise IntegrityError(
            f"The record has no time that can be read ({error})",
            subject=keys.record_key(record.uri),
            hint="Restore the object from a backup, or delete the version.",
        ) from error


def dated(record: VersionRecord) -> Dated:
    """Return a version with when it was due."""
    return Dated(due_of(record), record.uri.version)


def base_of(known: Iterable[Dated], due: datetime) -> Dated | None:
    """Return the newest version that was due before `due`, whenever it was made, or None."""
    return max((each for each in known if each.due < due), default=None)


def alias_target(own: Dated, known: Iterable[Dated], named: Dated | None) -> Dated | None:
    """Decide what an alias is to name, once `own` is there.

    It never goes back: a night that is made late leaves it where it is. It is not taken away from
    an older version that somebody pointed it at either, unless `own` is newer than all others.

    Args:
        own: The version that the run was to make.
        known: All versions of the dataset.
        named: What the alias names now; None if there is no alias, or its version was deleted.

    Returns:
        The version to point it at; None to leave it.
    """
    newest = max((*known, own))
    if named is None:
        return newest
    return own if newest == own and named < own else None


def overtaken(written: Dated, before: Iterable[Dated], now: Iterable[Dated]) -> Dated | None:
    """Return the version that the alias must name instead of `written`, or None.

    That is a newer one that was committed between the deciding and the writing: its own run may
    have moved the alias before, and lost it by that write.
    """
    newest = max(set(now) - set(before), default=written)
    return newest if newest > written else None


# -- acting -----------------------------------------------------------------------------------


def look(store: Store, uri: DatasetUri, due: datetime) -> Turn:
    """Find out what a run that was due at `due` has to do for the version `uri`.

    Raises:
        InvalidInputError: An alias has the name.
        IntegrityError: A record is damaged, so that the base can't be told.
    """
    existing = catalog.check_can_commit(store, uri)
    if existing is not None:
        return Turn(uri, due, existing, is_deleted=False, base=None, n_later=0)
    is_deleted = deleted_digest(store, uri) is not None
    known = versions_of(store, uri.dataset)
    base = base_of(known, due)
    return Turn(
        uri=uri,
        due=due,
        existing=None,
        is_deleted=is_deleted,
        base=DatasetUri(uri.dataset, base.version) if base else None,
        n_later=sum(each.due > due for each in known),
    )


def versions_of(store: Store, dataset: str) -> list[Dated]:
    """Return all versions of a dataset, the one that was due first at the start.

    Raises:
        IntegrityError: A record is damaged.
        UnsupportedFormatError: A newer release wrote one.
    """
    return sorted(map(dated, list_versions(store, dataset).all_or_raise()))


def settle_alias(store: Store, record: VersionRecord, alias: str, *, is_new: bool) -> Moved | None:
    """Point an alias at a version that was made, unless it names a newer one.

    Args:
        store: The store.
        record: The version.
        alias: Name of the alias.
        is_new: Whether this run made the version. If another did, that run may have died before it
            moved the alias: it is moved then, but not if somebody did so since.

    Returns:
        What changed; None if nothing did.

    Raises:
        InvalidInputError: A version has the name of the alias.
    """
    at = DatasetUri(record.uri.dataset, alias)
    catalog.check_free_for_alias(store, at)
    now = _read_alias(store, at)
    if now is not None and not is_new and _moment(now.updated) > _moment(record.created):
        return None
    known = versions_of(store, record.uri.dataset)
    target = alias_target(dated(record), known, _find(known, now.target if now else None))
    if target is None:
        return None
    written = _write_alias(store, at, target, known)
    return Moved(alias, DatasetUri(at.dataset, written.version), now.target if now else None)


def _write_alias(store: Store, at: DatasetUri, target: Dated, known: Sequence[Dated]) -> Dated:
    """Write an alias, and again if a newer version appeared meanwhile; return what it names."""
    catalog.move_alias(store, DatasetUri(at.dataset, target.version), at.version)
    while newer := overtaken(target, known, versions_of(store, at.dataset)):
        target = newer
        catalog.move_alias(store, DatasetUri(at.dataset, target.version), at.version)
    return target


def _find(known: Iterable[Dated], version: str | None) -> Dated | None:
    return next((each for each in known if each.version == version), None)


def _read_alias(store: Store, at: DatasetUri) -> AliasRecord | None:
    key = keys.alias_key(at)
    data = read_optional(store, key)
    return AliasRecord.from_json(data, key=key) if data is not None else None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
