"""The tasks that ask which recurring version is due, and move its aliases."""

from datetime import datetime

from prefect import task

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog, recurring
from prefect_datasets.core.versions.aliases import Moved
from prefect_datasets.core.versions.recurring import Turn
from prefect_datasets.tasks.events import announce_alias
from prefect_datasets.tasks.policy import RETRIED


@task(task_run_name="look up {uri}", **RETRIED)
def look_up(uri: DatasetUri, due: datetime, aliases: list[str], *, store: DatasetStore) -> Turn:
    """Find out whether a version is still to be made, and from which one.

    Args:
        uri: The version.
        due: When it was due.
        aliases: Aliases that are to be moved; none may have the name of a version.
        store: Where it is.
    """
    opened = store.open()
    for alias in aliases:
        catalog.check_free_for_alias(opened, DatasetUri(uri.dataset, alias))
    return recurring.look(opened, uri, due)


@task(task_run_name="move {alias}", **RETRIED)
def move_alias(uri: DatasetUri, alias: str, *, is_new: bool, store: DatasetStore) -> Moved | None:
    """Point an alias at a version, unless it names one that was due later.

    Args:
        uri: The version, which is there.
        alias: The alias.
        is_new: Whether this run made the version.
        store: Where it is.
    """
    opened = store.open()
    record = catalog.find(opened, uri)
    moved = recurring.settle_alias(opened, record, alias, is_new=is_new)
    if moved is not None:
        announce_alias(moved.version, alias, previous=moved.previous)
    return moved
