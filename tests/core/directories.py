"""Directories of outputs for tests: files, their metadata, and what is read of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.metadata.declarations import Declarations
from prefect_datasets.core.metadata.read import read_declarations
from prefect_datasets.core.metadata.scan import METADATA_FILE, scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

V1, V2 = "dataset://images/v1", "dataset://images/v2"
KEY = "valohai.dataset-versions"


def touch(root: Path, *paths: str) -> None:
    """Write files whose content nobody looks at."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def write_lines(root: Path, lines: Iterable[object]) -> None:
    """Write `valohai.metadata.jsonl`: strings as they are, anything else as JSON."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (root / METADATA_FILE).write_text("".join(f"{text}\n" for text in texts))


def line(file: str, *versions: str | Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """Return a line that puts a file into versions; `others` are more keys of its metadata."""
    said: dict[str, Any] = {KEY: list(versions)} if versions else {}
    return {"file": file, "metadata": {**said, **others}}


def write_sidecar(root: Path, file: str, metadata: object) -> None:
    """Write the sidecar of a file, over several lines as people do."""
    (root / f"{file}.metadata.json").write_text(json.dumps(metadata, indent=2))


def read(root: Path, *, strict: bool = True) -> Declarations:
    """Read what the metadata of a directory asks for."""
    return read_declarations(scan(root), strict=strict)


def members(root: Path, found: Declarations) -> dict[str, list[str]]:
    """Return the paths of each version's files."""
    paths = scan(root).listing.column("path")
    return {str(uri): paths.take(rows).to_pylist() for uri, rows in found.members.items()}


def properties(root: Path, found: Declarations) -> dict[str, Any]:
    """Return the metadata of each file that has any."""
    paths = scan(root).listing.column("path").to_pylist()
    texts = found.metadata.to_pylist()
    return {path: json.loads(text) for path, text in zip(paths, texts, strict=True) if text}
