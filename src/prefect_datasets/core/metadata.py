"""The metadata of output files, read and written: which versions they go into, and what is said.

`valohai.metadata.jsonl` in the root of the outputs has one line per file; a sidecar
`FILE.metadata.json` beside a file says the same of that file. docs/metadata.md has every key.
"""

from __future__ import annotations

from prefect_datasets.core.declarations import Declarations, VersionDeclaration
from prefect_datasets.core.metadata_read import read_declarations
from prefect_datasets.core.metadata_write import write_metadata
from prefect_datasets.core.scan import METADATA_FILE, SIDECAR_SUFFIX

__all__ = [
    "METADATA_FILE",
    "SIDECAR_SUFFIX",
    "Declarations",
    "VersionDeclaration",
    "read_declarations",
    "write_metadata",
]
