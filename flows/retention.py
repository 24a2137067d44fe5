"""Let old versions of a dataset go: `retain_versions` as a deployment."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from prefect import flow
from pydantic import BaseModel, ConfigDict, Field

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.core.versions import garbage as collector
from prefect_datasets.core.versions import retention as engine
from prefect_datasets.core.versions.garbage import Garbage
from prefect_datasets.core.versions.retention import Retention
from prefect_datasets.flows.forms import DatasetName, described, titled
from prefect_datasets.tasks import artifacts
from prefect_datasets.tasks.events import announce_deletion
from prefect_datasets.tasks.links import artifact_key
from prefect_datasets.tasks.retention import retention_rows, retention_summary
from prefect_datasets.tasks.run import Run, current_run

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store

_HOUR_SECONDS = 3600.0


class RetentionOptions(BaseModel):
    """Which versions retention looks at, and when it frees what they leave; a form."""

    model_config = ConfigDict(frozen=True)

    versions: str = Field(
        default="*",
        min_length=1,
        title="Versions",
        description="A pattern of the names of versions that may go, such as 20??-??-??; others "
        "stay, and are not counted.",
    )
    grace_hours: float = Field(
        default=24,
        ge=0,
        title="Grace (hours)",
        description="What a deleted version leaves is freed that much later, for a run may still "
        "be reading it.",
    )


@dataclass(frozen=True, slots=True)
class Retained:
    """What retention did, or would do.

    Attributes:
        dataset: The dataset.
        is_done: Whether it was done.
        kept: Versions that stay.
        deleted: Versions that went or would go, the newest first.
        n_bytes: Bytes that nothing needs without them; freed when the grace is over.
        n_freed_bytes: Bytes freed now, or free to go now: of versions deleted before.
        n_freed_objects: Number of objects they are.
    """

    dataset: str
    is_done: bool
    kept: tuple[str, ...]
    deleted: tuple[str, ...]
    n_bytes: int
    n_freed_bytes: int
    n_freed_objects: int


@described
@flow(name="retain-versions", flow_run_name="retain {dataset}")
def retain_versions(
    store: Annotated[DatasetStore, titled("Store")],
    dataset: Annotated[DatasetName, titled("Dataset")],
    keep: Annotated[int, titled("Keep the newest", ge=1)] = 30,
    apply: Annotated[bool, titled("Let them go")] = False,  # noqa: FBT002 - a form
    options: Annotated[RetentionOptions, titled("More")] = RetentionOptions(),  # noqa: B008 - frozen
) -> Retained:
    """Keep the newest versions of a dataset and whatever an alias names; delete the others.

    Unless told to let them go, this only shows which they are and how many bytes that frees. What
    other versions share with them stays.

    Args:
        store: Where the dataset is.
        dataset: Name of the dataset.
        keep: How many versions stay: those that were due last.
        apply: Delete the others, and free what versions deleted before have left; off shows it.
        options: Which versions may go, and when their bytes do.
    """
    run = current_run()
    assert run is not None, "a flow run"
    opened, grace = store.open(), options.grace_hours * _HOUR_SECONDS
    planned = engine.plan_retention(opened, dataset, keep=keep, pattern=options.versions)
    _show(run, planned, apply=apply)
    deleted = [str(each.record.uri) for each in planned.doomed]
    if apply:
        deleted = list(reversed([*_delete(run, opened, planned)]))
    garbage = collector.plan_garbage(opened, time.time(), grace_seconds=grace)
    if apply:
        collector.collect(opened, garbage, grace_seconds=grace)
    _tell(run, planned, garbage, apply=apply)
    return Retained(
        dataset=dataset,
        is_done=apply,
        kept=tuple(planned.kept),
        deleted=tuple(deleted),
        n_bytes=planned.n_freed_bytes,
        n_freed_bytes=garbage.n_bytes,
        n_freed_objects=len(garbage.keys),
    )


def _delete(run: Run, store: "Store", planned: Retention) -> Iterator[str]:
    for deletion in engine.delete_planned(store, planned):
        announce_deletion(deletion)
        run.logger.info("deleted %s", deletion.record.uri)
        yield str(deletion.record.uri)


def _show(run: Run, planned: Retention, *, apply: bool) -> None:
    """Show what goes, before it does."""
    verb = "deletes" if apply else "would delete"
    told = f"{planned.dataset}: {verb} {count(len(planned.doomed), 'version')}"
    key = artifact_key(planned.dataset).replace("dataset-", "retention-", 1)
    markdown = retention_summary(planned, apply=apply)
    artifacts.create_markdown(run, key=key, markdown=markdown, description=told)
    if rows := retention_rows(planned):
        artifacts.create_table(run, key=f"{key}-versions", rows=rows, description=told)


def _tell(run: Run, planned: Retention, garbage: Garbage, *, apply: bool) -> None:
    run.logger.info(
        "%s: %s %s of %s; nothing needs %s of it then",
        planned.dataset,
        "deleted" if apply else "would delete",
        count(len(planned.doomed), "version"),
        f"{len(planned.doomed) + len(planned.kept):,}",
        format_bytes(planned.n_freed_bytes),
    )
    run.logger.info(
        "%s %s, %s, that versions deleted before have left",
        "freed" if apply else "would free",
        count(len(garbage.keys), "object"),
        format_bytes(garbage.n_bytes),
    )
