"""The task that makes a version exist."""

from collections.abc import Sequence

from prefect import task

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format.record import Part
from prefect_datasets.core.publish.publish import VersionPlan, commit
from prefect_datasets.core.versions.catalog import DatasetVersion
from prefect_datasets.tasks.policy import RETRIED
from prefect_datasets.tasks.progress import progress_of_task
from prefect_datasets.tasks.run import current_run, run_count
from prefect_datasets.tasks.summary import announce


@task(task_run_name="commit {version.uri}", **RETRIED)
def commit_version(
    version: VersionPlan, parts: Sequence[Part], *, store: DatasetStore
) -> DatasetVersion:
    """Write the commit record of a version whose parts are stored, then tell Prefect about it.

    Args:
        version: What was planned; wrap it in `policy.unseen`.
        parts: Its parts, in order; wrap them too.
        store: Where they are.
    """
    with progress_of_task() as progress:
        record = commit(version, parts, store=store.open(), progress=progress)
    run = current_run()
    # A run that is tried again may have committed before, and died before it told.
    if run is not None and (version.existing is None or version.parts or run_count() > 1):
        announce(run, record, store=store)
    return DatasetVersion.from_record(record)
