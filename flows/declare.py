"""Declare which files are in which dataset version, from a flow or anywhere else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect_datasets.core.metadata import write as engine
from prefect_datasets.flows.templates import fill
from prefect_datasets.tasks.metadata import write_metadata as write_metadata_task
from prefect_datasets.tasks.run import current_run


def write_metadata(
    out: str | Path,
    uri: str | Sequence[str],
    *,
    packaging: bool | None = None,
    from_version: str | None = None,
    exclude: str | Sequence[str] = (),
    aliases: str | Sequence[str] = (),
    files: str | Sequence[str] = "**",
    tags: str | Sequence[str] = (),
    properties: Mapping[str, Any] | None = None,
) -> int:
    """Declare output files as members of one or more dataset versions.

    Writes `valohai.metadata.jsonl` in `out`, keeping what is there. `{scheduled:%Y-%m-%d}` in a URI
    is filled from the scheduled start of the flow run.

    Args:
        out: Folder of the outputs.
        uri: The version, `dataset://NAME/VERSION`, or several.
        packaging: Whether to bundle the version's files into packages.
        from_version: A version or alias whose files the new one inherits.
        exclude: Paths or globs of inherited files to leave out.
        aliases: Aliases of the dataset to move to the version when it is committed.
        files: Globs of the files that are meant.
        tags: Tags of the files.
        properties: Properties of the files: any JSON.

    Returns:
        How many files match.

    Raises:
        InvalidInputError: A name is wrong, or what is said contradicts what is there.
    """
    uris = [uri] if isinstance(uri, str) else list(uri)
    run = current_run()
    write = write_metadata_task if run is not None and run.can_submit else engine.write_metadata
    return write(
        Path(out),
        [fill(each) for each in uris],
        packaging=packaging,
        from_version=fill(from_version) if from_version is not None else None,
        exclude=exclude,
        aliases=aliases,
        files=files,
        tags=tags,
        properties=properties,
    )
