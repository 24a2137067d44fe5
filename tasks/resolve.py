"""The task that makes an input available on the machine it runs on."""

from collections.abc import Sequence

from prefect import task

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.cache.cache import Selection
from prefect_datasets.core.resolve import inputs as engine
from prefect_datasets.core.resolve.inputs import LinkMode, ResolvedInput
from prefect_datasets.core.resolve.layout import KeepDirectories
from prefect_datasets.tasks.policy import RETRIED
from prefect_datasets.tasks.progress import progress_of_task


# A resolved path belongs to one machine, so Prefect must neither cache nor persist it.
@task(task_run_name="resolve {name}", **RETRIED)
def resolve_input(
    name: str,  # noqa: ARG001 - it is in the name of the task run
    uris: Sequence[str],
    *,
    store: DatasetStore,
    selection: Selection = Selection(),  # noqa: B008 - frozen
    link: LinkMode = "symlink",
    keep_directories: KeepDirectories = "full",
) -> ResolvedInput:
    """Make the files behind `uris` available here, from the cache or by way of it.

    Call it directly, where the files will be read: a task that is submitted may run on another
    machine.

    Args:
        name: Name of the input, for people.
        uris: Dataset versions, aliases, data or plain URLs.
        store: Where the versions are; its settings name the cache.
        selection: Which of the files.
        link: How the input is made of the cached files.
        keep_directories: How much of the files' folders the input has.
    """
    with progress_of_task() as progress:
        return engine.resolve_input(
            uris,
            store=store.spec(),
            cache=store.cache(),
            selection=selection,
            link=link,
            keep_directories=keep_directories,
            progress=progress,
        )
