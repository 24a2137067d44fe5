"""The task that publishes parts that get no package."""

from collections.abc import Sequence

from prefect import task

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format.record import Part
from prefect_datasets.core.publish.plan_version import PartPlan
from prefect_datasets.tasks.parts import name_of_parts, store_parts
from prefect_datasets.tasks.policy import RETRIED


@task(task_run_name=name_of_parts, **RETRIED)
def upload_files(parts: Sequence[PartPlan], *, store: DatasetStore, share: str = "") -> list[Part]:
    """Store each file as an object of its own, and the table of its part.

    Args:
        parts: What to publish: files of a version without packages, or files in no version. Wrap
            them in `policy.unseen`, or Prefect walks through them.
        store: Where to.
        share: Name of this task's share of the whole progress.
    """
    return store_parts(parts, store=store, share=share)
