"""Find and delete what no version reaches.

Reached is: every object that a commit record or one of its tables names (of versions deleted within
the grace period too), where a version came from, packages made for it afterwards, and what datum
aliases name, with the tables that lead to it. Outputs that are in no version are kept like any
run's outputs, unless the caller names an age for them. Left alone is everything of an execution
that was active within the grace period, and of the executions whose objects it may use. What stays
beside a version's record goes when the version was deleted (`left_behind`).

What an attempt left may be taken up by a new one at any moment. So its note goes first: from then
on nobody finds what it left, and who found it before has said so, in a note or in a record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.format import keys, parts
from prefect_datasets.core.format.record import Part, VersionRecord
from prefect_datasets.core.format.tables import read_table
from prefect_datasets.core.uri import DatumUri
from prefect_datasets.core.versions import left_behind, records
from prefect_datasets.core.versions.datums import find_datum, tables_with

if TYPE_CHECKING:
    from prefect_datasets.core.store import ObjectInfo, Store

GRACE_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Garbage:
    """What a collection would delete.

    Attributes:
        keys: Keys of the objects.
        n_bytes: Their sizes together.
        n_kept: Number of objects of executions that stay.
        n_young: Number of objects that stay only because they are younger than the grace period.
        known: Hashes of the names and times of the records that were looked at.
    """

    keys: tuple[str, ...]
    n_bytes: int
    n_kept: int
    n_young: int
    known: frozenset[int] = field(default=frozenset(), repr=False)


def plan_garbage(
    store: Store,
    now: float,
    *,
    grace_seconds: float = GRACE_SECONDS,
    loose_seconds: float | None = None,
) -> Garbage:
    """Find what can be deleted; nothing is.

    Args:
        store: The store.
        now: The time, in seconds since 1970, by the store's clock.
        grace_seconds: Executions that wrote something within this time are left alone.
        loose_seconds: Outputs in no version go too where they are older than this, but for those
            with a datum alias; left out, they stay.

    Raises:
        DatasetError: A record or a table can't be read: then nothing can be said to be garbage.
    """
    oldest = now - grace_seconds
    attempts = list(_attempts(store))
    known = frozenset(map(hash, _record_times(store)))
    kept_since = 0.0 if loose_seconds is None else now - loose_seconds
    found = chain(_reached(store, oldest), _loose(store, kept_since))
    reached = frozenset(map(hash, found))
    listed = groupby(sorted(store.list(keys.OUTPUTS), key=lambda i: i.key), _execution)
    by_execution = {execution: list(objects) for execution, objects in listed}
    active = {name for name, each in by_execution.items() if max(map(_modified, each)) > oldest}
    over = [
        info.key for info, name, _ in attempts if info.modified <= oldest and name not in active
    ]
    used = _used_by(attempt for attempt in attempts if attempt[0].key not in over)
    beside = left_behind.find(store, oldest)
    doomed, kept, young = list[str](), 0, 0
    n_bytes = sum(info.n_bytes for info in beside)
    for execution, infos in by_execution.items():
        garbage = unreached(execution, infos, reached)
        if execution in used or execution in active:
            young += len(garbage)
            garbage = []
        doomed += [info.key for info in garbage]
        n_bytes += sum(info.n_bytes for info in garbage)
        kept += len(infos) - len(garbage)
    keys_beside = (info.key for info in beside)
    return Garbage((*doomed, *over, *keys_beside), n_bytes, kept, young, known)


def collect(store: Store, garbage: Garbage, *, grace_seconds: float = GRACE_SECONDS) -> int:
    """Delete what was planned and nobody has taken up; end uploads that a kill left.

    Returns:
        How many uploads.

    Raises:
        DatasetError: A new record or its table can't be read: then only notes are deleted.
    """
    notes = (key for key in garbage.keys if key.startswith(keys.DATASETS))
    store.delete([key for key in notes if keys.ATTEMPTS in key])
    left_behind.delete(store, garbage.keys)
    used = _used_by(_attempts(store))
    needed = frozenset(map(hash, _reached_since(store, garbage.known)))
    objects = (key for key in garbage.keys if key.startswith(keys.OUTPUTS))
    free = (key for key in objects if key.split("/")[1] not in used and hash(key) not in needed)
    store.delete(list(free))
    return store.abort_stale_uploads(grace_seconds)


def _reached(store: Store, oldest: float) -> Iterator[str]:
    yield from reached_by(store, _versions(store, oldest))
    yield from reached_by_data(store)


def _reached_since(store: Store, known: frozenset[int]) -> Iterator[str]:
    """Yield the keys that records reach which are not known, and all that datum aliases do."""
    new = (each for each in _record_times(store) if hash(each) not in known)
    for dataset, of_dataset in groupby(new, key=lambda each: each[0]):
        names = [name for _, name, _ in of_dataset]
        yield from reached_by(store, records.read_versions(store, dataset, names).all_or_raise())
    yield from reached_by_data(store)


def _record_times(store: Store) -> Iterator[tuple[str, str, float]]:
    for dataset in store.list_folders(keys.DATASETS):
        yield from ((dataset, *each) for each in records.record_times(store, dataset))


def _versions(store: Store, oldest: float) -> Iterator[VersionRecord]:
    for dataset in store.list_folders(keys.DATASETS):
        yield from records.list_versions(store, dataset).all_or_raise()
        # A publish that has read a base goes on when the base is deleted.
        yield from records.list_deleted(store, dataset, since=oldest)


def reached_by(store: Store, versions: Iterable[VersionRecord]) -> Iterator[str]:
    """Yield the keys that versions reach; a table that several have is read once.

    Raises:
        DatasetError: A table can't be read.
    """
    tables: set[str] = set()
    for record in versions:
        yield keys.execution_key(record.execution)
        later = records.read_packages(store, record)
        made = (*record.packages, *(later.packages if later else ()))
        yield from (package.key for package in made)
        for part in record.parts:
            if part.table not in tables:
                tables.add(part.table)
                yield from _reached_by_part(store, part)


def _reached_by_part(store: Store, part: Part) -> Iterator[str]:
    yield part.table
    yield keys.stamps_key(part.table)
    # As it is stored: files may lie in other objects than their part's package.
    rows = parts.read_stored(store, part)
    for name in ("url", "package"):
        yield from (key for key in rows[name].unique().to_pylist() if key is not None)


def reached_by_data(store: Store) -> Iterator[str]:
    """Yield the keys that datum aliases reach."""
    for info in store.list(keys.DATUMS):
        alias = info.key.removeprefix(f"{keys.DATUMS}@").removesuffix(".json")
        try:
            file = find_datum(store, DatumUri(alias))
        except NotFoundError:
            continue  # it names what is gone already
        yield file.stored.key
        yield from tables_with(store, file.id)


def _loose(store: Store, since: float) -> Iterator[str]:
    """Yield what executions stored since then that is in no version."""
    for execution in store.list_folders(keys.OUTPUTS):
        for info in store.list(keys.tables_prefix(execution, None)):
            if info.modified <= since:
                continue
            yield info.key
            rows = read_table(store.read(info.key), key=info.key)
            yield from rows["url"].drop_null().to_pylist()


def _attempts(store: Store) -> Iterator[tuple[ObjectInfo, str, list[str]]]:
    """Yield the open attempts: the object, its execution, the executions whose objects it uses."""
    for info in store.list(keys.DATASETS):
        if keys.ATTEMPTS in info.key:
            data = records.read_optional(store, info.key)
            if data is None:
                continue  # closed just now: its record is there
            body = json.loads(data)
            yield info, body["execution"], body["reuses"]


def _used_by(attempts: Iterable[tuple[ObjectInfo, str, list[str]]]) -> set[str]:
    return {name for _, own, reuses in attempts for name in (own, *reuses)}


def _modified(info: ObjectInfo) -> float:
    return info.modified


def _execution(info: ObjectInfo) -> str:
    return info.key.split("/")[1]


def unreached(execution: str, infos: list[ObjectInfo], reached: frozenset[int]) -> list[ObjectInfo]:
    """Return an execution's objects that nothing reaches; its record and log go with the last.

    Args:
        execution: The execution.
        infos: All of its objects.
        reached: Hashes of the keys that are reached.
    """
    own = own_keys(execution)
    dead = [info for info in infos if info.key not in own and hash(info.key) not in reached]
    is_all_dead = len(dead) == sum(info.key not in own for info in infos)
    return infos if is_all_dead and hash(own[0]) not in reached else dead


def own_keys(execution: str) -> tuple[str, str]:
    """Return the keys of an execution's record and of its log."""
    return keys.execution_key(execution), keys.log_key(execution)
