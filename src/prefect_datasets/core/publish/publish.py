"""Publish: make versions of files, package them, commit.

    plan_directory  ->  begin  ->  publish_part for each part  ->  commit

`publish_directory` does it all, one part after the other; a flow maps the parts over its tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.errors import DatasetError, IntegrityError
from prefect_datasets.core.format import keys, parts
from prefect_datasets.core.format.package import layout
from prefect_datasets.core.format.record import (
    FORMAT,
    AliasRecord,
    Package,
    PackagesRecord,
    Part,
    VersionRecord,
)
from prefect_datasets.core.format.rows import ROWS, datum_id, files_digest
from prefect_datasets.core.format.tables import read_table, write_table
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.progress import NoProgress, Progress, count, format_bytes
from prefect_datasets.core.publish import journal
from prefect_datasets.core.publish.pack import store_part
from prefect_datasets.core.publish.plan import (
    Plan,
    VersionPlan,
    plan_directory,
    plan_package_parts,
)
from prefect_datasets.core.publish.plan_version import Decision, PartPlan, Policy, hint
from prefect_datasets.core.publish.recognised import write_stamps
from prefect_datasets.core.publish.together import store_together
from prefect_datasets.core.publish.unchanged import executions_of, same_as_base, with_digests
from prefect_datasets.core.versions import catalog

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.uri import DatasetUri

__all__ = [
    "PartPlan",
    "Plan",
    "Policy",
    "VersionDeclaration",
    "VersionPlan",
    "begin",
    "commit",
    "commit_loose",
    "package_version",
    "plan_directory",
    "plan_packages",
    "publish_directory",
    "publish_part",
    "publish_plan",
    "reuse",
]

_QUIET = NoProgress()


def publish_directory(
    root: Path,
    *,
    store: Store,
    to: Sequence[VersionDeclaration] | None = None,
    policy: Policy | None = None,
    execution: str | None = None,
    strict: bool = True,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = _QUIET,
) -> list[VersionRecord]:
    """Publish a directory's files.

    Args:
        root: The directory.
        store: Where to publish.
        to: The versions that get all files; left out, the directory's metadata says which.
        policy: How to publish.
        execution: Id of the execution; left out, a new one.
        strict: Whether faulty metadata is an error; else it is left out with a warning.
        provenance: What is kept beside the files in `execution.json`: inputs, parameters.
        progress: Is told of the work.

    Returns:
        The records of the versions, ordered by URI.

    Raises:
        DatasetError: As `plan_directory`, `publish_part` and `commit` do.
    """
    plan = plan_directory(
        root, store=store, to=to, policy=policy, execution=execution, strict=strict
    )
    return publish_plan(plan, store=store, provenance=provenance, progress=progress)


def publish_plan(
    plan: Plan,
    *,
    store: Store,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = _QUIET,
) -> list[VersionRecord]:
    """Publish what was planned, one part after the other.

    Args:
        plan: The plan.
        store: Where to publish.
        provenance: What is kept beside the files in `execution.json`: inputs, parameters.
        progress: Is told of the work.

    Returns:
        The records of the versions, ordered by URI.

    Raises:
        DatasetError: As `publish_part` and `commit` do.
    """
    begin(plan, store=store, provenance=provenance, progress=progress)
    records: list[VersionRecord] = []
    published: list[Part] = []
    for version in plan.versions:
        shared = reuse(version, published, store=store)
        progress.start(
            f"publishing {version.uri}", n_files=version.n_files, n_bytes=version.n_bytes
        )
        done = [publish_part(part, store=store, progress=progress) for part in shared.parts]
        published.extend(done)
        records.append(commit(version, done, store=store, progress=progress))
    loose = [publish_part(part, store=store, progress=progress) for part in plan.loose]
    commit_loose(plan, loose, store=store)
    return records


def begin(
    plan: Plan,
    *,
    store: Store,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = _QUIET,
) -> None:
    """Say the plan's warnings, and open its attempts: a later one finds what this one leaves."""
    for warning in plan.warnings:
        progress.warn(warning)
    if store.ignores_conditions():
        progress.warn(
            f"{store.url} ignores create-only writes: if two publish the same version at the same "
            "moment, the second may replace the first"
        )
    body = {
        "format": FORMAT,
        "execution": plan.execution,
        "created": catalog.now(),
        "versions": [str(version.uri) for version in plan.versions],
        **(provenance or {}),
    }
    text = json.dumps(body, ensure_ascii=False, indent=1, default=str)
    store.write(keys.execution_key(plan.execution), text.encode())
    for version in plan.versions:
        if version.existing is None:
            uses = _executions_used(version)
            journal.open_attempt(store, version.uri, plan.execution, version.earlier, uses)


def _executions_used(version: VersionPlan) -> set[str]:
    """Return the executions whose objects the version may name: `gc` must leave them alone."""
    used: set[str] = set()
    for part in version.parts:
        used |= executions_of(part.base) if part.base else set()
        for name in ("url", "package"):
            keys_used = part.rows[name].drop_null()
            folders = pc.replace_substring_regex(keys_used, r"^[^/]*/([^/]*).*$", r"\1")
            used.update(pc.unique(folders).to_pylist())
    return used


def publish_part(part: PartPlan, *, store: Store, progress: Progress = _QUIET) -> Part:
    """Store one part whole: its files, its package, its table.

    Raises:
        SourceChangedError: A local file is not what it was when it was listed.
        StoreError: The store failed; what was stored is found by the next attempt.
    """
    said = f"(dataset version package {part.index + 1}/{part.n_parts})"
    same = same_as_base(part, store)
    if same and same.package:
        progress.note(f"{said} unchanged since {same.package.key.rpartition('/')[2]}")
    left = same or _left_whole(part, store)
    if left is not None:
        progress.advance(n_files=part.n_files, n_bytes=part.n_bytes)
        return left
    if part.is_packaged and part.uri:
        name = keys.package_name(part.uri, part.index, part.n_parts)
        size = layout(part.rows["path"], part.rows["size"]).n_bytes
        progress.note(f"{said} uploading {name} ({format_bytes(size)})")
        progress.note(f"{said} uploading to {store.kind} bucket {store.bucket}")
    rows = store_part(part, store=store, progress=progress)
    package = _package(part) if part.is_packaged else None
    if package:
        rows = store_together(part, rows, store=store)
    if package:
        progress.note(f"{said} upload complete (datum {package.datum})")
    if part.committed:
        return replace(part.committed, package=package)
    return _write_table(part, rows, package, store)


def _package(part: PartPlan) -> Package:
    assert part.uri is not None, "files in no version have no package"
    key = keys.package_key(part.execution, part.uri, part.index, part.n_parts)
    size = layout(part.rows["path"], part.rows["size"]).n_bytes
    return Package(key, size, datum_id(part.execution, key))


def _write_table(part: PartPlan, rows: pa.Table, package: Package | None, store: Store) -> Part:
    table = memoryview(write_table(rows))
    key = keys.table_key(part.execution, part.uri, part.index)
    write_stamps(part, key, store=store)
    store.write(key, table)
    return Part(
        table=key,
        table_bytes=len(table),
        table_sha256=hashlib.sha256(table).hexdigest(),
        n_files=rows.num_rows,
        n_bytes=part.n_bytes,
        first=rows["path"][0].as_py(),
        last=rows["path"][-1].as_py(),
        digest=files_digest([rows]),
        package=package,
    )


def _left_whole(part: PartPlan, store: Store) -> Part | None:
    """Return the part as an earlier attempt left it, if it did so with the very same files."""
    for execution in reversed(part.earlier):
        key = keys.table_key(execution, part.uri, part.index)
        try:
            rows = read_table(store.read(key), key=key)
        except DatasetError:
            continue
        earlier = replace(part, execution=execution)
        if _is_same_part(earlier, rows, store):
            package = _package(earlier) if part.is_packaged else None
            described = rows.set_column(
                ROWS.get_field_index("metadata"), ROWS.field("metadata"), part.rows["metadata"]
            )
            return _write_table(part, described, package, store)
    return None


def _is_same_part(part: PartPlan, rows: pa.Table, store: Store) -> bool:
    given = part.rows
    if not (rows["path"].equals(given["path"]) and rows["size"].equals(given["size"])):
        return False
    if part.individual_files and rows["url"].null_count:
        return False
    if part.is_packaged:
        package = _package(part)
        info = store.info(package.key)
        if info is None or info.n_bytes != package.n_bytes:
            return False
    return with_digests(part, store)["sha256"].equals(rows["sha256"])


def reuse(version: VersionPlan, published: Sequence[Part], *, store: Store) -> VersionPlan:
    """Let a version use the objects that parts of other versions stored in the same execution."""
    if not published or not version.parts or version.existing:
        return version
    stored = pa.concat_tables([parts.read_part(store, part) for part in published])
    shared = [replace(part, rows=hint(part.rows, stored)) for part in version.parts]
    return replace(version, parts=tuple(shared))


def commit(
    version: VersionPlan,
    done: Sequence[Part],
    *,
    store: Store,
    progress: Progress = _QUIET,
) -> VersionRecord:
    """Make a version exist, once all its parts are stored; then move its aliases.

    Args:
        version: The version's plan.
        done: What `publish_part` returned for its parts, in any order.
        store: The store.
        progress: Is told.

    Raises:
        AlreadyPublishedError: Another published other files under this name meanwhile.
    """
    ordered = tuple(sorted(done, key=lambda part: part.first))
    if version.existing is None:
        record = _commit_version(version, ordered, store)
        _move_datum_aliases(version.datum_aliases, ordered, store)
    else:
        record = version.existing
        if ordered:
            _commit_packages(version, ordered, store)
            record = catalog.find(store, record.uri)
    for alias in version.declaration.aliases:
        catalog.move_alias(store, record.uri, alias)
    journal.close_attempts(store, record.uri, (*version.earlier, version.execution))
    progress.note(
        f"{record.uri}: {count(record.n_files, 'file')}, {format_bytes(record.n_bytes)}, "
        f"{count(len(record.packages), 'package')}"
    )
    return record


def _commit_version(version: VersionPlan, ordered: tuple[Part, ...], store: Store) -> VersionRecord:
    record = VersionRecord(
        uri=version.uri,
        # Read back from the store: what can't be read now must not be committed.
        digest=parts.digest_of_parts(store, ordered),
        created=catalog.now(),
        execution=version.execution,
        attempt=catalog.new_id(),
        parts=ordered,
        parent=version.parent,
        tags=version.declaration.tags,
        properties=version.declaration.properties,
    )
    if record.n_files != version.n_files:
        raise IntegrityError(
            f"{record.n_files} of {version.n_files} files were stored",
            subject=str(version.uri),
            hint="Give commit what publish_part returned for every part of the plan.",
        )
    journal.check_open(store, version.uri, version.execution)
    return catalog.commit(store, record)


def _commit_packages(version: VersionPlan, ordered: Sequence[Part], store: Store) -> None:
    assert version.existing is not None
    later = PackagesRecord(
        digest=version.existing.digest,
        created=catalog.now(),
        execution=version.execution,
        attempt=catalog.new_id(),
        packages=tuple(part.package for part in ordered if part.package),
    )
    catalog.commit_packages(store, version.existing, later)


def commit_loose(plan: Plan, done: Sequence[Part], *, store: Store) -> None:
    """Move the datum aliases of files that are in no version, once they are stored."""
    _move_datum_aliases(plan.datum_aliases, done, store)


def _move_datum_aliases(aliases: Mapping[str, str], done: Sequence[Part], store: Store) -> None:
    if not aliases:
        return
    rows = pa.concat_tables([parts.read_part(store, part) for part in done])
    paths = rows["path"].to_pylist()
    for alias, path in aliases.items():
        datum = rows["datum"][paths.index(path)].as_py()
        body = AliasRecord(target=datum, updated=catalog.now()).to_json()
        store.write(keys.datum_alias_key(alias), body)


# -- packages for a version that has none --------------------------------------------------------


def plan_packages(uri: DatasetUri, *, store: Store, execution: str | None = None) -> VersionPlan:
    """Plan packages for a committed version; without parts if it is packaged already.

    Raises:
        NotFoundError: There is no such version.
    """
    record = catalog.find(store, uri)
    execution = execution or catalog.new_id()
    missing = () if record.is_packaged else plan_package_parts(record, store, execution)
    return VersionPlan(
        declaration=VersionDeclaration(record.uri),
        execution=execution,
        parts=missing,
        decision=Decision(is_packaged=True, reason="as told"),
        parent=record.parent,
        existing=record,
    )


def package_version(uri: DatasetUri, *, store: Store, progress: Progress = _QUIET) -> VersionRecord:
    """Make packages for a committed version, from what is stored; its record stays as it is."""
    version = plan_packages(uri, store=store)
    progress.start(f"packaging {version.uri}", n_files=version.n_files, n_bytes=version.n_bytes)
    done = [publish_part(part, store=store, progress=progress) for part in version.parts]
    return commit(version, done, store=store, progress=progress)
