"""The task that publishes parts of a packaged version."""

from collections.abc import Sequence

from prefect import task

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format.record import Part
from prefect_datasets.core.publish.plan_version import PartPlan
from prefect_datasets.tasks.parts import name_of_parts, store_parts
from prefect_datasets.tasks.policy import RETRIED


@task(task_run_name=name_of_parts, **RETRIED)
def package_version(
    parts: Sequence[PartPlan], *, store: DatasetStore, share: str = ""
) -> list[Part]:
    """Read each file once; store the package, the individual objects and the table of its part.

    Args:
        parts: What to publish: one part, or a few neighbours where there would be too many task
            runs. Wrap them in `policy.unseen`, or Prefect walks through them.
        store: Where to.
        share: Name of this task's share of the whole progress.
    """
    return store_parts(parts, store=store, share=share)
