"""Reading the metadata of a directory."""

from __future__ import annotations

from pathlib import Path

from prefect_datasets.core.declarations import Declarations
from prefect_datasets.core.scan import Scan


def read_declarations(root: Path, scan: Scan, *, strict: bool) -> Declarations:
    """Read what the metadata below `root` asks for."""
    raise NotImplementedError
