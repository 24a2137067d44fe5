"""Keep the newest versions of a dataset and those that have a name; let the others go.

`choose` decides and is pure. `plan_retention` says what would go and how many bytes that frees:
what other versions, of this dataset or another, share with them stays. `delete_planned` deletes
the versions; `garbage` frees their objects when the grace period is over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain, groupby
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import InvalidInputError, NotFoundError
from prefect_datasets.core.format import keys
from prefect_datasets.core.uri import LATEST, DatasetUri
from prefect_datasets.core.versions import catalog, deletion, garbage, records
from prefect_datasets.core.versions.aliases import Aliases, list_aliases
from prefect_datasets.core.versions.recurring import Dated, dated

if TYPE_CHECKING:
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.store import ObjectInfo, Store


@dataclass(frozen=True, slots=True)
class Choice:
    """Which versions stay and which go, the newest first.

    Attributes:
        kept: Version -> why it stays, in a few words.
        doomed: The versions that go.
    """

    kept: dict[str, str]
    doomed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Doomed:
    """A version that goes.

    Attributes:
        record: The version.
        due: When it was due.
        n_freed_objects: Number of objects that nothing needs without it, counted at the newest of
            the versions that go.
        n_freed_bytes: Their sizes together.
        children: Versions that were made from it; they keep all their files.
    """

    record: VersionRecord
    due: Dated
    n_freed_objects: int
    n_freed_bytes: int
    children: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retention:
    """What keeping the newest versions means.

    Attributes:
        dataset: The dataset.
        keep: How many were to be kept.
        kept: Version -> why it stays, the newest first.
        doomed: The versions that go, the newest first.
    """

    dataset: str
    keep: int
    kept: dict[str, str]
    doomed: tuple[Doomed, ...]

    @property
    def n_freed_bytes(self) -> int:
        """Bytes that nothing needs any more once all of them are gone."""
        return sum(each.n_freed_bytes for each in self.doomed)


def choose(
    known: Iterable[Dated],
    *,
    keep: int,
    named: Mapping[str, Collection[str]],
    pattern: str = "*",
) -> Choice:
    """Decide which versions stay: the `keep` that were due last, and all that have a name.

    Args:
        known: All versions of the dataset.
        keep: How many, at least one; those that stay for their names are not counted.
        named: Version -> its aliases; `latest` is one.
        pattern: Versions whose names do not match stay, and are not counted.
    """
    kept: dict[str, str] = {}
    doomed: list[str] = []
    n_newest = 0
    for each in sorted(known, reverse=True):
        is_meant = fnmatchcase(each.version, pattern)
        n_newest += is_meant
        if names := sorted(named.get(each.version, ())):
            kept[each.version] = f"named by {', '.join(names)}"
        elif not is_meant:
            kept[each.version] = f"its name is not {pattern}"
        elif n_newest <= keep:
            kept[each.version] = f"one of the newest {keep}"
        else:
            doomed.append(each.version)
    return Choice(kept, tuple(doomed))


def plan_retention(store: Store, dataset: str, *, keep: int, pattern: str = "*") -> Retention:
    """Find out what would go, and what that frees; nothing is changed.

    Raises:
        InvalidInputError: Nothing would be kept.
        NotFoundError: The dataset has no version.
        IntegrityError: A record, an alias or a table is damaged: then nothing can be said to be
            needed by nobody.
    """
    if keep < 1:
        raise InvalidInputError(
            f"{keep} versions can't be kept", subject=dataset, hint="Keep at least one."
        )
    versions = records.list_versions(store, dataset).all_or_raise()
    if not versions:
        raise NotFoundError(
            "The dataset has no version",
            subject=f"{dataset} in {store.url}",
            hint="`prefect-datasets list` shows the datasets of a store.",
        )
    due = {each.uri.version: dated(each) for each in versions}
    choice = choose(due.values(), keep=keep, named=names_of(store, dataset), pattern=pattern)
    by_name = {each.uri.version: each for each in versions}
    doomed = [by_name[version] for version in choice.doomed]
    freed = _freed(store, doomed)
    return Retention(
        dataset=dataset,
        keep=keep,
        kept=choice.kept,
        doomed=tuple(
            Doomed(
                record=record,
                due=due[record.uri.version],
                n_freed_objects=len(infos),
                n_freed_bytes=sum(info.n_bytes for info in infos),
                children=tuple(
                    str(each.uri) for each in versions if each.parent == str(record.uri)
                ),
            )
            for record, infos in zip(doomed, freed, strict=True)
        ),
    )


def names_of(store: Store, dataset: str) -> dict[str, list[str]]:
    """Return the names that stand for versions: version -> aliases, with `latest`.

    Raises:
        IntegrityError: An alias is damaged: it may name any version.
    """
    aliases: Aliases = list_aliases(store, dataset)
    for fault in aliases.faults:
        raise fault
    named: dict[str, list[str]] = {}
    for alias, version in aliases.targets.items():
        named.setdefault(version, []).append(alias)
    newest = catalog.find(store, DatasetUri(dataset, LATEST)).uri.version
    named.setdefault(newest, []).append(LATEST)
    return named


def delete_planned(store: Store, planned: Retention) -> Iterator[deletion.Deletion]:
    """Delete the versions that go, the oldest first, and yield each; ended anywhere, it goes on.

    One that has got a name since the planning stays, and one that is gone is passed over.

    Raises:
        IntegrityError: A record or an alias is damaged.
    """
    for each in reversed(planned.doomed):
        uri = each.record.uri
        record = records.read_record(store, uri)
        aliases = list_aliases(store, uri.dataset)
        for fault in aliases.faults:
            raise fault
        if record is None or aliases.of(uri.version):
            continue
        whole = records.with_later_packages(store, record)
        plan = deletion.Deletion(record=whole, aliases=(), children=each.children)
        deletion.delete(store, plan)
        yield plan


# -- what that frees --------------------------------------------------------------------------


def _freed(store: Store, doomed: Sequence[VersionRecord]) -> list[list[ObjectInfo]]:
    """Return for each version that goes the objects that nothing needs then.

    One that several of them need counts for the first.
    """
    if not doomed:
        return []
    gone = {each.uri for each in doomed}
    staying = [each for each in _all_versions(store) if each.uri not in gone]
    kept = chain(garbage.reached_by(store, staying), garbage.reached_by_data(store))
    needed = frozenset(map(hash, kept))
    users: dict[str, int] = {}
    for number, record in enumerate(doomed):
        for key in garbage.reached_by(store, [record]):
            if hash(key) not in needed:
                users.setdefault(key, number)
    freed: list[list[ObjectInfo]] = [[] for _ in doomed]
    for execution, of_execution in groupby(sorted(users), key=lambda key: key.split("/")[1]):
        keys_freed = set(of_execution)
        infos = list(store.list(keys.output_prefix(execution)))
        last = min(users[key] for key in keys_freed)
        for info in garbage.unreached(execution, infos, needed):
            if info.key in keys_freed or info.key in garbage.own_keys(execution):
                freed[users.get(info.key, last)].append(info)
    return freed


def _all_versions(store: Store) -> Iterator[VersionRecord]:
    for dataset in store.list_folders(keys.DATASETS):
        yield from records.list_versions(store, dataset).all_or_raise()
