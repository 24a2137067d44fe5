"""Outputs that are stored while the step runs: files that it made read-only.

Such a file is taken out of the outputs at once, so that it needs no place any more, and joins its
versions at the end: its rows say where the store has it. A sidecar that is made read-only goes the
same way, but not to the store.
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.format import parts
from prefect_datasets.core.format.rows import ROWS
from prefect_datasets.core.metadata.scan import METADATA_FILE, SIDECAR_SUFFIX, scan
from prefect_datasets.core.progress import NoProgress, format_bytes
from prefect_datasets.core.publish.plan_version import PartPlan, as_sources
from prefect_datasets.core.publish.publish import publish_part
from prefect_datasets.core.versions import catalog

if TYPE_CHECKING:
    from collections.abc import Collection

    from prefect_datasets.core.store import Store

# Looking takes at most this share of the time, however many outputs there are.
_MOST_LOOKING = 0.05
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_QUIET = NoProgress()

Seen = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Live:
    """What was stored while the step ran.

    Attributes:
        rows: The files (`ROWS`), each path once: the last of that name.
        earlier: Those that had the name of a later one.
        notes: What was done, for the log.
        warnings: What went wrong, for the log.
    """

    rows: pa.Table
    earlier: pa.Table
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Taken:
    """Results of the thread, read by the one that runs the step."""

    tables: list[pa.Table] = field(default_factory=list[pa.Table])
    notes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


class LiveOutputs:
    """Watches a run's outputs, in a thread of its own, while the block runs.

    Args:
        outputs: The folder of the outputs.
        held: A folder on the same disk, for what is on its way.
        store: Where to.
        look_seconds: How often to look.
        not_sizes: A read-only file of one of these sizes stays where it is until the end: it may
            be a copy of an input, which the step did not mean to be read-only.
    """

    def __init__(
        self,
        outputs: Path,
        held: Path,
        *,
        store: Store,
        look_seconds: float,
        not_sizes: Collection[int] = (),
    ) -> None:
        self._look_seconds = look_seconds
        self._outputs, self._held, self._store = outputs, held, store
        self._not_sizes = frozenset(not_sizes)
        self._seen: dict[str, Seen] = {}
        self._failed: set[str] = set()
        self._taken = _Taken()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="live outputs", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._bring_back()

    def said(self) -> tuple[list[str], list[str]]:
        """Return notes and warnings since the last time."""
        with self._lock:
            notes, self._taken.notes = self._taken.notes, []
            warnings, self._taken.warnings = self._taken.warnings, []
        return notes, warnings

    def finish(self) -> Live:
        """Return what was stored; after the block."""
        notes, warnings = self.said()
        rows, earlier = _newest(self._taken.tables)
        return Live(rows, earlier, tuple(notes), tuple(warnings))

    def _watch(self) -> None:
        pause = self._look_seconds
        while not self._ending.wait(pause):
            began = time.monotonic()
            paths = self._look()
            pause = max(self._look_seconds, (time.monotonic() - began) / _MOST_LOOKING)
            if paths:
                self._take(paths)

    def _look(self) -> list[str]:
        """Return files that are read-only, and look as they did at the last look."""
        seen = {
            path: (info.st_size, info.st_mtime_ns)
            for path, info in _read_only(self._outputs)
            if info.st_size not in self._not_sizes and path not in self._failed
        }
        ready = [path for path, now in seen.items() if self._seen.get(path) == now]
        self._seen = seen
        return ready

    def _take(self, paths: list[str]) -> None:
        """Move files out of the outputs and store them."""
        batch = catalog.new_id()
        files, sidecars = self._held / batch / "files", self._held / batch / "sidecars"
        for path in paths:
            name = path.rpartition("/")[2]
            is_metadata = path == METADATA_FILE or name.endswith(SIDECAR_SUFFIX)
            _move(self._outputs / path, (sidecars if is_metadata else files) / path)
        if not files.is_dir():
            return
        try:
            rows = _store(files, batch, self._store)
        except (DatasetError, OSError) as error:
            with self._lock:
                self._failed.update(paths)
                self._taken.warnings.append(f"Live outputs stay until the end: {error}")
            return
        shutil.rmtree(files, ignore_errors=True)
        with self._lock:
            self._taken.tables.append(rows)
            self._taken.notes += [
                f"{path}: uploaded, {format_bytes(size)} (datum {datum})"
                for path, size, datum in _shown(rows)
            ]

    def _bring_back(self) -> None:
        """Put sidecars, and what could not be stored, back where the step wrote them."""
        for batch in sorted(self._held.iterdir()):
            for kind in ("sidecars", "files"):
                for file in [path for path in (batch / kind).rglob("*") if not path.is_dir()]:
                    target = self._outputs / file.relative_to(batch / kind)
                    if not target.exists():
                        _move(file, target)


def _read_only(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files below `root` that nobody may write to."""
    stack = [""]
    while stack:
        folder = stack.pop()
        with suppress(OSError), os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    stack.append(f"{path}/")
                elif entry.is_file(follow_symlinks=False):
                    with suppress(OSError):
                        info = entry.stat(follow_symlinks=False)
                        if not info.st_mode & _WRITABLE:
                            yield path, info


def _move(source: Path, target: Path) -> None:
    with suppress(OSError):  # it went away, or its folder can't be written to: then it stays
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)


def _store(folder: Path, execution: str, store: Store) -> pa.Table:
    """Store the files of a folder one by one; return their rows."""
    part = PartPlan(
        uri=None,
        execution=execution,
        index=0,
        n_parts=1,
        root=str(folder),
        rows=as_sources(scan(folder).listing),
        is_packaged=False,
        individual_files=True,
    )
    return parts.read_part(store, publish_part(part, store=store, progress=_QUIET))


def _newest(tables: list[pa.Table]) -> tuple[pa.Table, pa.Table]:
    """Return the last row of each path, in path order, and the other rows."""
    rows = pa.concat_tables([ROWS.empty_table(), *tables])
    last = {path: number for number, path in enumerate(rows["path"].to_pylist())}
    newest = rows.take(pa.array(sorted(last.values()), pa.int64()))
    others = sorted(set(range(rows.num_rows)) - set(last.values()))
    return newest.sort_by("path"), rows.take(pa.array(others, pa.int64()))


def _shown(rows: pa.Table) -> Iterator[tuple[str, int, str]]:
    columns = (rows[name].to_pylist() for name in ("path", "size", "datum"))
    yield from zip(*columns, strict=True)
