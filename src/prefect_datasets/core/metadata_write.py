"""Writing the metadata of a directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prefect_datasets.core.uri import DatasetUri


def write_metadata(
    root: Path,
    uris: str | DatasetUri | Iterable[str | DatasetUri],
    *,
    packaging: bool | None = None,
    from_version: str | DatasetUri | None = None,
    exclude: str | Iterable[str] = (),
    aliases: str | Iterable[str] = (),
    files: str | Iterable[str] = "**",
    tags: str | Iterable[str] = (),
    properties: Mapping[str, Any] | None = None,
) -> int:
    """Say that the files below `root` go into dataset versions."""
    raise NotImplementedError
