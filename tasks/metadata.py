"""The task that declares which files are in which dataset version."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from prefect_datasets.core.metadata import write
from prefect_datasets.tasks.policy import name_of_uris


@task(task_run_name=name_of_uris, cache_policy=NO_CACHE, persist_result=False)
def write_metadata(
    root: Path,
    uris: str | Sequence[str],
    *,
    packaging: bool | None = None,
    from_version: str | None = None,
    exclude: str | Sequence[str] = (),
    aliases: str | Sequence[str] = (),
    files: str | Sequence[str] = "**",
    tags: str | Sequence[str] = (),
    properties: Mapping[str, Any] | None = None,
) -> int:
    """Declare the files below `root` that match `files` as members of dataset versions.

    Returns:
        How many files match.
    """
    return write.write_metadata(
        root,
        uris,
        packaging=packaging,
        from_version=from_version,
        exclude=exclude,
        aliases=aliases,
        files=files,
        tags=tags,
        properties=properties,
    )
