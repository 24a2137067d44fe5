"""The task that makes a version exist."""

import time
from collections.abc import Sequence

from prefect import task

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format.record import Part
from prefect_datasets.core.publish.publish import VersionPlan, commit
from prefect_datasets.core.versions.aliases import targets_of
from prefect_datasets.core.versions.catalog import DatasetVersion
from prefect_datasets.tasks.announce import announce
from prefect_datasets.tasks.events import announce_alias
from prefect_datasets.tasks.policy import RETRIED
from prefect_datasets.tasks.progress import progress_of_task
from prefect_datasets.tasks.run import current_run, run_count


@task(task_run_name="commit {version.uri}", **RETRIED)
def commit_version(
    version: VersionPlan,
    parts: Sequence[Part],
    *,
    store: DatasetStore,
    began: float | None = None,
) -> DatasetVersion:
    """Write the commit record of a version whose parts are stored, then tell Prefect about it.

    Args:
        version: What was planned; wrap it in `policy.unseen`.
        parts: Its parts, in order; wrap them too.
        store: Where they are.
        began: When the work on the version began, in seconds since the epoch.
    """
    run, opened, aliases = current_run(), store.open(), version.declaration.aliases
    before = targets_of(opened, version.uri.dataset, aliases) if run is not None else {}
    with progress_of_task() as progress:
        record = commit(version, parts, store=opened, progress=progress)
    # A run that is tried again may have committed before, and died before it told.
    is_new = version.existing is None or run_count() > 1
    if run is not None and (is_new or version.parts):
        seconds = None if began is None else time.time() - began
        announce(run, record, store=store, aliases=aliases, seconds=seconds, is_new=is_new)
    for alias, previous in before.items():
        announce_alias(record.uri, alias, previous=previous)
    return DatasetVersion.from_record(record)
