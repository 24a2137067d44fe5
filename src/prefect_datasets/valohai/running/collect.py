"""Stores what a step wrote: all outputs, and the versions they declare if the step succeeded."""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.format import parts
from prefect_datasets.core.format.rows import ROWS
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.metadata.scan import MAX_PATH_BYTES, scan
from prefect_datasets.core.publish import publish as engine
from prefect_datasets.core.publish.plan_version import hint
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions.aliases import Moved, targets_of
from prefect_datasets.valohai.plan import Output

if TYPE_CHECKING:
    from prefect_datasets.core.format.record import Part, VersionRecord
    from prefect_datasets.core.progress import Progress
    from prefect_datasets.core.publish.plan_version import PartPlan, Policy, VersionPlan
    from prefect_datasets.core.store import Store
    from prefect_datasets.valohai.running.live_outputs import Live

_TRIES = 3
_WAIT_SECONDS = 2.0
_SHOWN_ASIDE = 20


@dataclass(frozen=True, slots=True)
class Written:
    """What a run left to be stored.

    Attributes:
        outputs: The folder of its outputs.
        aside: A folder for what can't be stored; made if it is needed.
        live: What was stored while it ran.
        execution: Its id.
        provenance: What is kept of the run beside its outputs.
    """

    outputs: Path
    aside: Path
    live: Live
    execution: str
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store has of a run.

    Attributes:
        outputs: Its outputs, in path order.
        versions: The versions it made.
        aliases: Names that were pointed at them, with what they stood for before.
        error: Why not all of that could be made; None where it could.
    """

    outputs: tuple[Output, ...]
    versions: tuple[VersionRecord, ...]
    aliases: tuple[Moved, ...]
    error: DatasetError | None = None


def collect(
    written: Written, *, store: Store, policy: Policy, makes_versions: bool, progress: Progress
) -> Stored:
    """Store the outputs of a run; make its versions if it may.

    What makes a version impossible (its name is taken, or wrong) ends that, and the outputs are
    stored nevertheless.

    Args:
        written: What there is.
        store: Where to.
        policy: How versions are packaged.
        makes_versions: Whether the step succeeded.
        progress: Is told.
    """
    _set_aside(written.outputs, written.aside, progress)
    work = _Publication(written, store, policy, progress)
    error: DatasetError | None = None
    if makes_versions:
        error = work.try_to_publish(None)
    if not makes_versions or error is not None:
        second = work.try_to_publish(())
        if second is not None:
            progress.warn(f"Not all outputs are stored: {second}")
        error = error or second
    aliases = tuple(Moved(name.version, uri, was) for (name, uri), was in work.moved.items())
    return Stored(work.outputs(), tuple(work.versions), aliases, error)


@dataclass(slots=True)
class _Publication:
    """One publication, tried again where that may help: what is stored once is not sent again."""

    _written: Written
    _store: Store
    _policy: Policy
    _progress: Progress
    versions: list[VersionRecord] = field(default_factory=list["VersionRecord"])
    moved: dict[tuple[DatasetUri, DatasetUri], str | None] = field(
        default_factory=dict[tuple[DatasetUri, DatasetUri], str | None]
    )
    _tables: list[pa.Table] = field(default_factory=list[pa.Table])

    def try_to_publish(self, to: Sequence[VersionDeclaration] | None) -> DatasetError | None:
        """Publish all files, to the versions that their metadata names or to none."""
        for left in reversed(range(_TRIES)):
            try:
                self._publish(to)
            except DatasetError as error:
                if not error.retryable or not left:
                    return error
                self._progress.warn(f"Trying again: {error}")
                time.sleep(_WAIT_SECONDS)
            else:
                return None
        return None

    def _publish(self, to: Sequence[VersionDeclaration] | None) -> None:
        plan = engine.plan_directory(
            self._written.outputs,
            store=self._store,
            to=to,
            policy=self._policy,
            execution=self._written.execution,
            strict=False,
            stored=self._written.live.rows,
        )
        store, progress = self._store, self._progress
        engine.begin(plan, store=store, provenance=self._written.provenance, progress=progress)
        for version in plan.versions:
            progress.start(
                f"publishing {version.uri}", n_files=version.n_files, n_bytes=version.n_bytes
            )
            if version.existing is not None:
                self._tables.append(parts.read_rows(store, version.existing))
            done = [
                engine.publish_part(part, store=store, progress=progress)
                for part in self._hinted(version.parts)
            ]
            self._tables += [parts.read_part(store, part) for part in done]
            self._commit(version, done)
        loose = [
            engine.publish_part(part, store=store, progress=progress)
            for part in self._hinted(plan.loose)
        ]
        self._tables += [parts.read_part(store, part) for part in loose]
        engine.commit_loose(plan, loose, store=store)

    def _commit(self, version: VersionPlan, done: Sequence[Part]) -> None:
        dataset, aliases = version.uri.dataset, version.declaration.aliases
        before = targets_of(self._store, dataset, aliases)
        record = engine.commit(version, done, store=self._store, progress=self._progress)
        for alias, was in before.items():  # of several tries the first knows what it was
            self.moved.setdefault((DatasetUri(dataset, alias), version.uri), was)
        if record.uri not in [made.uri for made in self.versions]:
            self.versions.append(record)

    def _hinted(self, planned: Sequence[PartPlan]) -> list[PartPlan]:
        """Note which files are stored already."""
        if not self._tables:
            return list(planned)
        known = pa.concat_tables(self._tables)
        return [
            part if part.committed else replace(part, rows=hint(part.rows, known))
            for part in planned
        ]

    def outputs(self) -> tuple[Output, ...]:
        """Return what is stored of the files that the step wrote."""
        live = self._written.live
        rows = pa.concat_tables([ROWS.empty_table(), live.rows, *self._tables])
        written = scan(self._written.outputs).listing["path"].combine_chunks()
        own = pa.concat_arrays([written, live.rows["path"].combine_chunks()])
        found: dict[str, Output] = {}
        for output in _outputs(rows.filter(pc.is_in(rows["path"], own))):
            found[output.path] = output
        ordered = sorted(found.values(), key=lambda output: output.path.encode())
        return (*ordered, *_outputs(live.earlier))


def _outputs(rows: pa.Table) -> Iterator[Output]:
    columns = (rows[name].to_pylist() for name in ("path", "size", "datum"))
    return (Output(path, size, datum) for path, size, datum in zip(*columns, strict=True))


# -- what can't be stored ------------------------------------------------------------------------


def _set_aside(outputs: Path, aside: Path, progress: Progress) -> None:
    """Take out of the outputs what no store can keep, so that the rest is stored."""
    faults: list[str] = []
    for path, fault in _unfit(outputs):
        faults.append(f"{os.fsencode(path).decode(errors='backslashreplace')!r} ({fault})")
        target = aside / str(len(faults))
        with suppress(OSError):
            aside.mkdir(exist_ok=True)
            (outputs / path).rename(target)
    if faults:
        more = f" and {len(faults) - _SHOWN_ASIDE} more" if len(faults) > _SHOWN_ASIDE else ""
        progress.warn(f"Left out of the outputs: {', '.join(faults[:_SHOWN_ASIDE])}{more}")


def _unfit(outputs: Path) -> Iterator[tuple[str, str]]:
    root = os.path.realpath(outputs)
    stack = [""]
    while stack:
        folder = stack.pop()
        for entry in _entries(outputs / folder):
            path = f"{folder}{entry.name}"
            if (fault := _fault_of_name(path)) is not None:
                yield path, fault
            elif entry.is_dir(follow_symlinks=False):
                stack.append(f"{path}/")
            elif (fault := _fault_of_entry(entry, root)) is not None:
                yield path, fault


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder; what the step forbade itself to read is read nevertheless."""
    if not os.access(folder, os.R_OK | os.X_OK):
        with suppress(OSError):
            folder.chmod(0o700)
    with suppress(OSError), os.scandir(folder) as entries:
        return list(entries)
    return []


def _fault_of_name(path: str) -> str | None:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if len(encoded) > MAX_PATH_BYTES:
        return f"its path has more than {MAX_PATH_BYTES} bytes"
    if any(unicodedata.category(character) == "Cc" for character in path):
        return "its name has a control character"
    return None


def _fault_of_entry(entry: os.DirEntry[str], root: str) -> str | None:
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if not target.startswith(f"{root}/"):
            return f"a link out of the outputs, to {Path(entry.path).readlink()}"
        if not os.path.isfile(target):  # noqa: PTH113
            return "a link to no file"
        return None
    if not entry.is_file(follow_symlinks=False):
        return "a pipe, socket or device"
    if not os.access(entry.path, os.R_OK):
        with suppress(OSError):
            Path(entry.path).chmod(0o600)
    return None
