"""Short ways to publish something in a test."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.progress import NoProgress
from prefect_datasets.core.publish.publish import Policy, publish_directory
from prefect_datasets.core.store import Store
from prefect_datasets.core.uri import DatasetUri


def uri(version: str) -> DatasetUri:
    """Name a version of the dataset that tests use."""
    return DatasetUri("pets", version)


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below `root` and return it."""
    root.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def declare(name: str, **rest: object) -> VersionDeclaration:
    """Ask for a version of the dataset that tests use."""
    return VersionDeclaration(uri(name), **rest)  # type: ignore[arg-type]


def publish(
    root: Path, store: Store, name: str, *, policy: Policy | None = None, **rest: object
) -> VersionRecord:
    """Publish all files of a folder as one packaged version."""
    declared = declare(name, **{"packaging": True, **rest})
    [record] = publish_directory(root, store=store, to=[declared], policy=policy)
    return record


def contents(store: Store, record: VersionRecord) -> dict[str, bytes]:
    """Read a version from its packages with Python's zipfile."""
    found: dict[str, bytes] = {}
    for package in record.packages:
        with zipfile.ZipFile(io.BytesIO(store.read(package.key))) as archive:
            found |= {name: archive.read(name) for name in archive.namelist()}
    return found


class Told(NoProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        """Keep a line."""
        self.notes.append(message)

    def warn(self, message: str) -> None:
        """Keep a warning."""
        self.warnings.append(message)
