"""Are the trees of the cache what they were when they were made?"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.cache import VERSIONS, Cache, Entry, Ready, replace_file
from prefect_datasets.core.cache.folders import Folders
from prefect_datasets.core.cache.prune import condemn
from prefect_datasets.core.errors import IntegrityError

if TYPE_CHECKING:
    from prefect_datasets.core.progress import Progress

_N_THREADS = 4
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Fault:
    """One file of a tree that is not as it should be.

    Attributes:
        entry: The tree.
        path: The file's path in it.
        what: What is wrong.
    """

    entry: Entry
    path: str
    what: str


def verify(cache: Cache, *, repair: bool = False, progress: Progress) -> list[Fault]:
    """Read every file of every version and compare it with its digest.

    Args:
        cache: The cache.
        repair: Delete trees with a fault that nobody is using: the next resolve makes them anew.
        progress: Who is told.
    """
    found: list[Fault] = []
    for entry in cache.entries(VERSIONS):
        ready = entry.read_ready()
        if ready is None:
            if entry.is_of_newer_release():
                progress.warn(f"A newer release made {entry.folder}: it is not looked at")
            continue
        progress.start(f"verifying {ready.uri}", n_files=ready.n_files, n_bytes=ready.n_bytes)
        faults = list(faults_of(entry, deep=True, progress=progress))
        found += faults
        if faults and repair and condemn(cache, entry) is None:
            progress.warn(f"{ready.uri} is damaged and in use: {entry.folder} was left as it is")
    return found


def after_boot(cache: Cache, entry: Entry, ready: Ready) -> Ready | None:
    """Look once at the sizes of a tree's files, after a start of the machine.

    Returns:
        What the tree is; None if it is damaged, and was deleted.
    """
    if any(faults_of(entry, deep=False)):
        mine = entry.leases / leases.lease_name(leases.this_process())
        leases.give_back(mine, is_unused=True)
        if condemn(cache, entry) is None:
            raise IntegrityError(
                "A crash of the machine damaged the cached tree, and another process uses it",
                subject=str(entry.folder),
                hint="End that process and run `prefect-datasets cache verify --repair`.",
            )
        return None
    looked = replace(ready, boot=leases.this_boot())
    replace_file(entry.ready, looked.to_json())
    return looked


def faults_of(entry: Entry, *, deep: bool, progress: Progress | None = None) -> Iterator[Fault]:
    """Yield what is wrong with a tree: a file missing, too many, of another size or content."""
    try:
        yield from _faults_by_table(entry, deep=deep, progress=progress)
    except IntegrityError as error:
        yield Fault(entry, "", f"{error.message} ({error.subject})")


def _faults_by_table(entry: Entry, *, deep: bool, progress: Progress | None) -> Iterator[Fault]:
    n_files = 0
    with ThreadPoolExecutor(_N_THREADS) as pool:
        for rows in _rows(entry):
            n_files += len(rows)
            step = max(1, len(rows) // _N_THREADS)
            chunks = [rows[start : start + step] for start in range(0, len(rows), step)]
            for faults in pool.map(partial(_look, entry, deep=deep), chunks):
                yield from faults
            if progress is not None:
                progress.advance(n_files=len(rows), n_bytes=sum(size for _, size, _ in rows))
    if (n_found := _count(entry.files)) > n_files:
        yield Fault(entry, "", f"{n_found - n_files} more files than the version has")


def _rows(entry: Entry) -> Iterator[list[tuple[str, int, bytes]]]:
    for table in sorted(entry.parts.glob("*.parquet")):
        try:
            file = pq.ParquetFile(table)
            columns = ["path", "size", "sha256"]
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns, use_threads=False):
                yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        except (OSError, ValueError) as error:  # Arrow raises both for a damaged file
            raise IntegrityError("Its table can't be read", subject=table.name) from error


def _look(entry: Entry, rows: list[tuple[str, int, bytes]], *, deep: bool) -> list[Fault]:
    faults: list[Fault] = []
    with Folders(entry.files) as folders:
        for path, size, digest in rows:
            if what := _fault(folders, path, size, digest if deep else None):
                faults.append(Fault(entry, path, what))
    return faults


def _fault(folders: Folders, path: str, size: int, digest: bytes | None) -> str:
    folder, _, name = path.rpartition("/")
    try:
        parent = folders.get(folder)
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return "not a file"
        if status.st_size != size:
            return f"{status.st_size} bytes instead of {size}"
        if digest is not None and _digest(name, parent) != digest:
            return "other content"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    return ""


def _digest(name: str, folder: int) -> bytes:
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with open(handle, "rb") as file:  # noqa: PTH123  (a handle, no path)
        return hashlib.file_digest(file, "sha256").digest()


def _count(files: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(files))
