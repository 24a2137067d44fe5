"""The small JSON objects beside the data: commit records, aliases, packages made after the fact.

A commit record is what makes a version exist. It names the version's parts; a part names its table
and its package. `docs/format.md` describes each key.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from prefect_datasets.core.errors import IntegrityError, UnsupportedFormatError
from prefect_datasets.core.uri import DatasetUri

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Package:
    """One uncompressed zip with the files of one part.

    Attributes:
        key: Where it is stored, below the store's root.
        n_bytes: Its size.
        datum: Its id, as every stored object has one.
    """

    key: str
    n_bytes: int
    datum: str


@dataclass(frozen=True, slots=True)
class Part:
    """A run of a version's files in path order: one table, and one package if it is packaged.

    Attributes:
        table: Key of the Parquet table, below the store's root.
        table_bytes: The table's size.
        table_sha256: The table's digest, lower case hex.
        n_files: Number of files.
        n_bytes: Sum of the files' sizes.
        first: Path of the first file.
        last: Path of the last file.
        digest: Digest of the part's files (`rows.FilesDigest`).
        package: Their package, if there is one.
    """

    table: str
    table_bytes: int
    table_sha256: str
    n_files: int
    n_bytes: int
    first: str
    last: str
    digest: str
    package: Package | None = None


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What the store says about one version.

    Attributes:
        uri: The version.
        digest: Digest of the version's files (`rows.FilesDigest`).
        created: When it was committed, by the publisher's clock: ISO 8601, UTC.
        execution: Id of the execution that wrote it.
        attempt: Id of the commit itself: tells one's own record from another's after a lost reply.
        parts: Its parts, in path order.
        parent: URI of the version it was made from, or an empty string.
        tags: Tags of the version.
        properties: Properties of the version: any JSON.
    """

    uri: DatasetUri
    digest: str
    created: str
    execution: str
    attempt: str
    parts: tuple[Part, ...]
    parent: str = ""
    tags: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def n_files(self) -> int:
        """Number of files."""
        return sum(part.n_files for part in self.parts)

    @property
    def n_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(part.n_bytes for part in self.parts)

    @property
    def packages(self) -> tuple[Package, ...]:
        """The packages, in part order."""
        return tuple(part.package for part in self.parts if part.package)

    @property
    def is_packaged(self) -> bool:
        """Whether every part has its package; a version without files has none and needs none."""
        return bool(self.parts) and all(part.package for part in self.parts)

    def to_json(self) -> bytes:
        """Write the record."""
        return _dump(
            {
                "format": FORMAT,
                "dataset": self.uri.dataset,
                "version": self.uri.version,
                "digest": self.digest,
                "created": self.created,
                "execution": self.execution,
                "attempt": self.attempt,
                "parent": self.parent,
                "n_files": self.n_files,
                "n_bytes": self.n_bytes,
                "tags": list(self.tags),
                "properties": self.properties,
                "parts": [asdict(part) for part in self.parts],
            }
        )

    @classmethod
    def from_json(cls, data: bytes, *, key: str) -> Self:
        """Read a record that was stored at `key`.

        Raises:
            UnsupportedFormatError: A newer release wrote it.
            IntegrityError: It is no commit record.
        """
        body = _load(data, key=key)
        try:
            return cls(
                uri=DatasetUri(body["dataset"], body["version"]),
                digest=body["digest"],
                created=body["created"],
                execution=body["execution"],
                attempt=body["attempt"],
                parts=tuple(_part(part) for part in body["parts"]),
                parent=body["parent"],
                tags=tuple(body["tags"]),
                properties=body["properties"],
            )
        except (KeyError, TypeError) as error:
            raise _damaged(key, error) from error


@dataclass(frozen=True, slots=True)
class AliasRecord:
    """What an alias stands for now: a version's name for a dataset alias, a datum id else."""

    target: str
    updated: str

    def to_json(self) -> bytes:
        """Write the record."""
        return _dump({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, data: bytes, *, key: str) -> Self:
        """Read a record that was stored at `key`; raises as `VersionRecord.from_json` does."""
        body = _load(data, key=key)
        try:
            return cls(target=body["target"], updated=body["updated"])
        except (KeyError, TypeError) as error:
            raise _damaged(key, error) from error


@dataclass(frozen=True, slots=True)
class PackagesRecord:
    """Packages that were made for a version after it was committed, one per part.

    Attributes:
        digest: Digest of the version's files, so that it can't be taken for another version's.
        created: When it was committed: ISO 8601, UTC.
        execution: Id of the execution that made the packages.
        attempt: Id of the commit itself.
        packages: The packages, in the order of the record's parts.
    """

    digest: str
    created: str
    execution: str
    attempt: str
    packages: tuple[Package, ...]

    def to_json(self) -> bytes:
        """Write the record."""
        return _dump({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, data: bytes, *, key: str) -> Self:
        """Read a record that was stored at `key`; raises as `VersionRecord.from_json` does."""
        body = _load(data, key=key)
        try:
            return cls(
                digest=body["digest"],
                created=body["created"],
                execution=body["execution"],
                attempt=body["attempt"],
                packages=tuple(Package(**package) for package in body["packages"]),
            )
        except (KeyError, TypeError) as error:
            raise _damaged(key, error) from error


def _part(body: dict[str, Any]) -> Part:
    package = body["package"]
    plain = {name: value for name, value in body.items() if name != "package"}
    return Part(**plain, package=Package(**package) if package else None)


def _dump(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, indent=1).encode() + b"\n"


def _load(data: bytes, *, key: str) -> dict[str, Any]:
    try:
        body = json.loads(data)
        version = body["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(key, error) from error
    if not isinstance(version, int) or version > FORMAT:
        raise UnsupportedFormatError(
            f"Written in format {version}, this release reads up to format {FORMAT}",
            subject=key,
            hint="Upgrade prefect-datasets.",
        )
    return body


def _damaged(key: str, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"Not a record of a dataset ({type(error).__name__}: {error})",
        subject=key,
        hint="Restore the object from a backup, or publish the version again under a new name.",
    )
