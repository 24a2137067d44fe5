"""What the tasks that store parts of a version have in common."""

from collections.abc import Sequence
from typing import Any

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format.record import Part
from prefect_datasets.core.publish.plan_version import PartPlan
from prefect_datasets.core.publish.publish import publish_part
from prefect_datasets.tasks.progress import progress_of_task
from prefect_datasets.tasks.slots import slot


def store_parts(parts: Sequence[PartPlan], *, store: DatasetStore, share: str) -> list[Part]:
    """Store parts one after the other, when this process has a place for the work."""
    with slot(), progress_of_task(share) as progress:
        opened = store.open()
        return [publish_part(part, store=opened, progress=progress) for part in parts]


def name_of_parts(parameters: dict[str, Any] | None = None) -> str:
    """Call a task run by the parts it publishes: `package dataset://images/v1 2/3`."""
    assert parameters, "Prefect gives them"
    parts: Sequence[PartPlan] = parameters["parts"]
    first, last = parts[0], parts[-1]
    numbers = f"{first.index + 1}" + (f"-{last.index + 1}" if last is not first else "")
    work = "package" if first.is_packaged else "upload"
    of = first.uri or "files in no version"
    return f"{work} {of} {numbers}/{first.n_parts}"
