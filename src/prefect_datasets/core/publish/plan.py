"""Plan what a directory's files become, and find every fault before anything is stored.

    directory, metadata, base versions, what earlier attempts left  ->  Plan

A plan is data: its parts can be published one by one, in any order, in other processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import (
    bool_array,
    number_array,
    numbers,
    strings,
)
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format import parts
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.format.rows import files_digest
from prefect_datasets.core.format.tables import path_faults
from prefect_datasets.core.metadata.declarations import Declarations, VersionDeclaration
from prefect_datasets.core.metadata.read import read_declarations
from prefect_datasets.core.metadata.scan import Scan, scan
from prefect_datasets.core.progress import count
from prefect_datasets.core.publish import journal
from prefect_datasets.core.publish.plan_version import (
    Decision,
    PartPlan,
    Plan,
    Policy,
    VersionPlan,
    as_sources,
    cut_parts,
    decide_packaging,
    hint,
    inherit,
    merge_sources,
)
from prefect_datasets.core.publish.recognised import attempted, published, recognise
from prefect_datasets.core.publish.reference import reference_of, reference_of_newest
from prefect_datasets.core.publish.stored import mark_stored, with_stored
from prefect_datasets.core.publish.unchanged import mark_unchanged, with_digests
from prefect_datasets.core.versions import catalog

if TYPE_CHECKING:
    from prefect_datasets.core.metadata.walk import Walked
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.uri import DatasetUri

__all__ = [
    "Plan",
    "Planner",
    "VersionPlan",
    "all_files_to",
    "plan_directory",
    "plan_package_parts",
]


def plan_directory(
    root: Path,
    *,
    store: Store,
    to: Sequence[VersionDeclaration] | None = None,
    policy: Policy | None = None,
    execution: str | None = None,
    strict: bool = True,
    stored: pa.Table | None = None,
    walked: Walked | None = None,
) -> Plan:
    """Plan the publishing of a directory; nothing is stored.

    Args:
        root: The directory.
        store: Where to publish.
        to: The versions that get all files; left out, the directory's metadata says which.
        policy: How to publish.
        execution: Id of the execution; left out, a new one.
        strict: Whether faulty metadata is an error; else it is left out with a warning.
        stored: Files (`ROWS`) that were in the directory and are in the store by now.
        walked: What a walk through the directory has found a moment ago; left out, it is done.

    Raises:
        InvalidInputError: A name, a path or the metadata is wrong; all faults in one error.
        AlreadyPublishedError: A version exists with other files.
        NotFoundError: A base does not exist.
    """
    found, gone = scan(root, walked), None
    if stored is not None and stored.num_rows:
        found, gone = with_stored(found, stored)
    declarations = read_declarations(found, strict=strict)
    if to is not None:
        declarations = all_files_to(to, declarations, found.listing.num_rows)
    where = str(Path(root).resolve())
    planner = Planner(where, store, policy or Policy(), execution or catalog.new_id())
    planner.warnings.extend([*found.warnings, *declarations.warnings])
    return planner.plan(found, declarations, gone)


def all_files_to(
    to: Sequence[VersionDeclaration], declared: Declarations, n_files: int
) -> Declarations:
    """Put all files into the versions of `to`, whatever the metadata says of versions."""
    rows = number_array(np.arange(n_files, dtype=np.int32), pa.int32())
    members = {declaration.uri: rows for declaration in to}
    return replace(declared, versions=tuple(to), members=members)


class Planner:
    """What is common to all versions of one plan.

    Args:
        root: Folder of the files, or URL of their prefix.
        store: Where to publish.
        policy: How to publish.
        execution: Id of the execution.
        origin: The store whose objects the files are; None for files of this machine.
        reads_all: Whether objects are read though they are as they were when last published.

    Attributes:
        warnings: What the user should know, so far.
    """

    def __init__(
        self,
        root: str,
        store: Store,
        policy: Policy,
        execution: str,
        *,
        origin: Store | None = None,
        reads_all: bool = True,
    ) -> None:
        self._root, self._origin, self._reads_all = root, origin, reads_all
        self._store, self._policy, self._execution = store, policy, execution
        self.warnings: list[str] = []

    def plan(self, found: Scan, declarations: Declarations, gone: pa.Table | None = None) -> Plan:
        """Plan what was found; `gone` are files that are in the store already."""
        files = found.listing.append_column("metadata", declarations.metadata.cast(pa.string()))
        if gone is not None:
            files = mark_stored(files, gone)
        self._check_names(declarations.versions)
        versions = [
            self._version(declaration, files, declarations) for declaration in declarations.versions
        ]
        loose, aliases = self._loose(files, declarations)
        return Plan(self._execution, tuple(versions), loose, aliases, tuple(self.warnings))

    def _check_names(self, declared: Sequence[VersionDeclaration]) -> None:
        for declaration in declared:
            catalog.check_can_commit(self._store, declaration.uri)
            for alias in declaration.aliases:
                name = type(declaration.uri)(declaration.uri.dataset, alias)
                catalog.check_free_for_alias(self._store, name)

    def _version(
        self, declaration: VersionDeclaration, files: pa.Table, declarations: Declarations
    ) -> VersionPlan:
        local = _rows_of(files, declarations.members[declaration.uri])
        base, stored = self._base(declaration)
        attempts = journal.open_attempts(self._store, declaration.uri)
        earlier = tuple(name for name in attempts if name != self._execution)
        local = self._recognised(local, declaration, base, earlier)
        parent = str(base.uri) if base else ""
        inherited = self._inherited(declaration, parent, stored)
        sources = merge_sources(inherited, local, stored=stored)
        if not sources.num_rows:
            raise InvalidInputError(
                "The version would have no files",
                subject=str(declaration.uri),
                hint="Write files, or make it `from` a version that has some.",
            )
        if inherited is not None and (faults := path_faults(sources["path"])):
            raise InvalidInputError(
                f"Own and inherited files collide: {'; '.join(faults)}",
                subject=str(declaration.uri),
                hint=f"Rename the files, or exclude those of {parent}.",
            )
        decision = self._decide(declaration, sources)
        existing = self._existing(declaration, sources)
        if existing is not None:
            self._warn_of_differences(existing, declaration, parent)
            missing = self._missing_packages(existing, decision)
            return VersionPlan(
                declaration, self._execution, missing, decision, parent, existing=existing
            )
        reference = self._reference(declaration, stored)
        planned = self._parts(declaration.uri, sources, decision, earlier, reference)
        if base is not None and stored is not None:
            planned = mark_unchanged(planned, base, stored)
        return VersionPlan(
            declaration=declaration,
            execution=self._execution,
            parts=planned,
            decision=decision,
            parent=parent,
            earlier=earlier,
            datum_aliases=_aliases_within(declarations.datum_aliases, sources),
        )

    def _recognised(
        self,
        local: pa.Table,
        declaration: VersionDeclaration,
        base: VersionRecord | None,
        attempts: Sequence[str],
    ) -> pa.Table:
        """Take from what was published of the prefix before what has not changed since."""
        if self._origin is None or self._reads_all:
            return local
        store, uri = self._store, declaration.uri
        known = chain(
            published(store, self._origin, (catalog.read_record(store, uri), base)),
            attempted(store, self._origin, uri, attempts),
        )
        sources = as_sources(local)
        return recognise(sources, known, with_objects=self._policy.individual_files)

    def _base(
        self, declaration: VersionDeclaration
    ) -> tuple[VersionRecord | None, pa.Table | None]:
        if declaration.base is None:
            return None, None
        base = catalog.find(self._store, declaration.base)
        return base, parts.read_rows(self._store, base)

    def _inherited(
        self, declaration: VersionDeclaration, parent: str, stored: pa.Table | None
    ) -> pa.Table | None:
        if stored is None:
            return None
        rows, unmatched = inherit(stored, declaration.exclude)
        self.warnings.extend(
            f"{declaration.uri}: `exclude` {pattern!r} matches nothing in {parent}"
            for pattern in unmatched
        )
        return rows

    def _decide(self, declaration: VersionDeclaration, sources: pa.Table) -> Decision:
        decision = decide_packaging(self._policy, sources, asked=declaration.packaging)
        if decision.is_refusal:
            self.warnings.append(f"{declaration.uri} is not packaged: {decision.reason}")
        return decision

    def _existing(self, declaration: VersionDeclaration, sources: pa.Table) -> VersionRecord | None:
        """Return the version if it exists with these files; the name may have been deleted."""
        record = catalog.read_record(self._store, declaration.uri)
        if record is None:
            deleted = catalog.deleted_digest(self._store, declaration.uri)
            if deleted is not None and deleted != self._digest(sources):
                raise catalog.name_was_deleted(declaration.uri)
            return None
        n_bytes = pc.sum(sources["size"]).as_py()
        same = (record.n_files, record.n_bytes) == (sources.num_rows, n_bytes)
        catalog.same_or_raise(record, self._digest(sources) if same else "")
        return catalog.find(self._store, declaration.uri)

    def _digest(self, sources: pa.Table) -> str:
        """Return the digest that the version will have; reads all local files."""
        part = PartPlan(
            uri=None,
            execution=self._execution,
            index=0,
            n_parts=1,
            root=self._root,
            rows=sources,
            is_packaged=False,
            individual_files=False,
            origin=self._origin,
        )
        return files_digest([with_digests(part, self._store)])

    def _warn_of_differences(
        self, existing: VersionRecord, declaration: VersionDeclaration, parent: str
    ) -> None:
        differing = [
            name
            for name, old, new in (
                ("tags", existing.tags, declaration.tags),
                ("properties", existing.properties, declaration.properties),
                ("from", existing.parent, parent),
            )
            if new and old != new
        ]
        if differing:
            self.warnings.append(
                f"{existing.uri} exists with these files; its {', '.join(differing)} stay as "
                "they were published"
            )

    def _missing_packages(self, record: VersionRecord, decision: Decision) -> tuple[PartPlan, ...]:
        if not decision.is_packaged or record.is_packaged:
            return ()
        return plan_package_parts(record, self._store, self._execution)

    def _reference(self, declaration: VersionDeclaration, stored: pa.Table | None) -> bytes:
        if stored is not None:
            return reference_of([stored["sha256"]])
        return reference_of_newest(self._store, declaration.uri.dataset)

    def _parts(
        self,
        uri: DatasetUri | None,
        sources: pa.Table,
        decision: Decision,
        earlier: tuple[str, ...],
        reference: bytes = b"",
    ) -> tuple[PartPlan, ...]:
        stored = journal.read_journals(self._store, uri, earlier)
        if stored is not None:
            sources = hint(sources, stored)
        cut = list(cut_parts(sources, self._policy.max_package_bytes))
        return tuple(
            PartPlan(
                uri=uri,
                execution=self._execution,
                index=index,
                n_parts=len(cut),
                root=self._root,
                rows=rows,
                is_packaged=decision.is_packaged,
                individual_files=self._policy.individual_files if decision.is_packaged else True,
                earlier=earlier,
                origin=self._origin,
                reference=reference if decision.is_packaged else b"",
            )
            for index, rows in enumerate(cut)
        )

    def _loose(
        self, files: pa.Table, declarations: Declarations
    ) -> tuple[tuple[PartPlan, ...], dict[str, str]]:
        taken = np.zeros(files.num_rows, np.bool_)
        for rows in declarations.members.values():
            taken[numbers(rows, np.int32)] = True
        if self._origin is not None:
            self._leave_alone(int((~taken).sum()))
            return (), {}
        loose = as_sources(files.filter(bool_array(~taken)))
        unpackaged = Decision(is_packaged=False, reason="in no version")
        parts = self._parts(None, loose, unpackaged, ())
        return parts, _aliases_within(declarations.datum_aliases, loose)

    def _leave_alone(self, n_files: int) -> None:
        if n_files:
            self.warnings.append(
                f"{count(n_files, 'object')} below {self._root} are in no version, and stay there"
            )


def plan_package_parts(record: VersionRecord, store: Store, execution: str) -> tuple[PartPlan, ...]:
    """Plan packages for a committed version: one for each of its parts, from what is stored."""
    return tuple(
        PartPlan(
            uri=record.uri,
            execution=execution,
            index=index,
            n_parts=len(record.parts),
            root="",
            rows=as_sources(parts.read_part(store, part)),
            is_packaged=True,
            individual_files=True,
            committed=part,
        )
        for index, part in enumerate(record.parts)
    )


def _rows_of(files: pa.Table, rows: pa.Array) -> pa.Table:
    """Return the rows of a version; all of them are not copied."""
    return files if len(rows) == files.num_rows else files.take(rows)


def _aliases_within(aliases: Mapping[str, str], sources: pa.Table) -> dict[str, str]:
    if not aliases:
        return {}
    there = pc.is_in(strings(aliases.values()), sources["path"].combine_chunks())
    pairs = zip(aliases.items(), there.to_pylist(), strict=True)
    return {alias: path for (alias, path), is_there in pairs if is_there}
