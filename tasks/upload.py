"""The task that publishes parts that get no package."""

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format.record import Part
from prefect_datasets.core.publish.plan_version import PartPlan
from prefect_datasets.core.publish.publish import publish_part
from prefect_datasets.tasks.policy import (
    RETRIES,
    RETRY_DELAY,
    RETRY_JITTER,
    is_worth_retrying,
    name_of_parts,
)
from prefect_datasets.tasks.progress import progress_of_task
from prefect_datasets.tasks.slots import slot


@task(
    task_run_name=name_of_parts,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY,
    retry_jitter_factor=RETRY_JITTER,
    retry_condition_fn=is_worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def upload_files(parts: Sequence[PartPlan], *, store: DatasetStore, share: str = "") -> list[Part]:
    """Store each file as an object of its own, and the table of its part.

    Args:
        parts: What to publish: files of a version without packages, or files in no version. Wrap
            them in `policy.unseen`, or Prefect walks through them.
        store: Where to.
        share: Name of this task's share of the whole progress.
    """
    with slot(), progress_of_task(share) as progress:
        opened = store.open()
        return [publish_part(part, store=opened, progress=progress) for part in parts]
