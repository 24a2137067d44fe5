"""The metadata of output files, read and written: which versions they go into, and what is said.

`valohai.metadata.jsonl` in the root of the outputs has one line per file; a sidecar
`FILE.metadata.json` beside a file says the same of that file. docs/metadata.md has every key.
"""

from __future__ import annotations

from prefect_datasets.core.metadata.declarations import Declarations, VersionDeclaration
from prefect_datasets.core.metadata.read import read_declarations
from prefect_datasets.core.metadata.scan import METADATA_FILE, SIDECAR_SUFFIX
from prefect_datasets.core.metadata.write import write_metadata

__all__ = [
    "METADATA_FILE",
    "SIDECAR_SUFFIX",
    "Declarations",
    "VersionDeclaration",
    "read_declarations",
    "write_metadata",
]
