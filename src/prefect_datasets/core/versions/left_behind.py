"""What stays beside the record of a version when that is deleted.

Packages that were recorded while the version was being deleted, and who did work once for it. Both
mean something only as long as the version exists or its name may come back: with a publish that is
under way.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, groupby
from typing import TYPE_CHECKING

from prefect_datasets.core.format import keys
from prefect_datasets.core.uri import DatasetUri

if TYPE_CHECKING:
    from prefect_datasets.core.store import ObjectInfo, Store


def find(store: Store, oldest: float) -> list[ObjectInfo]:
    """Return what was left by versions that are deleted.

    Args:
        store: The store.
        oldest: What was written since then stays: in seconds since 1970. All turns of one piece of
            work go together or not at all, for the last one counts on those before it.
    """
    found: list[ObjectInfo] = []
    for dataset in store.list_folders(keys.DATASETS):
        gone = _deleted_before(store, dataset, oldest)
        if not gone:
            continue
        place = f"{keys.DATASETS}{dataset}"
        beside = chain(store.list(place + keys.PACKAGES), store.list(place + keys.ONCE))
        for _, group in groupby(sorted(beside, key=lambda info: info.key), _what):
            infos = list(group)
            if _version(infos[0].key) in gone and max(i.modified for i in infos) <= oldest:
                found += infos
    names = {_version(info.key) for info in found}
    deleted = {name for name in names if _is_deleted(store, name)}
    return [info for info in found if _version(info.key) in deleted]


def delete(store: Store, garbage: Iterable[str]) -> None:
    """Delete those of the keys that `find` returned whose version is still deleted."""
    notes = (key for key in garbage if key.startswith(keys.DATASETS))
    beside = [key for key in notes if keys.PACKAGES in key or keys.ONCE in key]
    for version, found in groupby(sorted(beside, key=_version), _version):
        if _is_deleted(store, version):
            store.delete(list(found))


def _deleted_before(store: Store, dataset: str, oldest: float) -> set[DatasetUri]:
    infos = store.list(f"{keys.DATASETS}{dataset}{keys.DELETED}")
    return {_version(info.key) for info in infos if info.modified <= oldest}


def _is_deleted(store: Store, version: DatasetUri) -> bool:
    is_there = store.info(keys.record_key(version)) is not None
    return not is_there and next(store.list(keys.attempts_prefix(version)), None) is None


def _what(info: ObjectInfo) -> str:
    """Return what an object is part of: itself for packages, the folder of a piece of work."""
    folder, _, _ = info.key.rpartition("/")
    return folder if keys.ONCE in info.key else info.key


def _version(key: str) -> DatasetUri:
    _, dataset, _, name, *rest = key.split("/")
    return DatasetUri(dataset, name if rest else name.removesuffix(".json"))
