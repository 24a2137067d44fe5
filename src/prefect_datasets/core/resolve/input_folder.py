"""Fill a folder with the files of trees, outside of the cache or in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.trash import erase
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.resolve.crew import Task, work_through
from prefect_datasets.core.resolve.hands import Hands
from prefect_datasets.core.resolve.link import copy_files, link_files
from prefect_datasets.core.resolve.local_disk import TARGET_HINT, nearest, usable

_N_THREADS = 2
_FILES_PER_TASK = 2048

FolderMode = Literal["hardlink", "copy"]

# A tree, and which of its paths becomes which in the folder.
Share = tuple[Path, Mapping[str, str]]


def check_target(target: Path) -> None:
    """Raise `InvalidInputError` unless `target` can be made: absent or an empty folder."""
    if not os.path.lexists(target):
        _check_parent(nearest(target.absolute()))
        return
    if target.is_symlink() or not target.is_dir():
        raise _taken(target, "It is there already and no folder")
    with os.scandir(target) as items:
        if next(items, None) is not None:
            raise _taken(target, "The folder is there already and not empty")


def _check_parent(parent: Path) -> None:
    if not parent.is_dir():
        why = "It is no folder, so none can be made in it"
    elif not os.access(parent, os.W_OK | os.X_OK):
        why = "Nothing can be written to it"
    else:
        return
    raise InvalidInputError(why, subject=str(parent), hint=TARGET_HINT)


def _making(target: Path) -> AbstractContextManager[None]:
    return usable(target, "The folder can't be made", TARGET_HINT)


def _taken(target: Path, why: str) -> InvalidInputError:
    return InvalidInputError(
        why, subject=str(target), hint="Name a folder that does not exist or is empty."
    )


def point(target: Path, path: Path) -> None:
    """Make `target` a link to `path`; it may be an empty folder until now."""
    with _making(target):
        _point(target, path)


def _point(target: Path, path: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    private = _private(target)
    private.symlink_to(path)
    try:
        if target.is_dir() and not target.is_symlink():
            target.rmdir()
        private.rename(target)
    except OSError:
        private.unlink()
        check_target(target)
        raise


def make(target: Path, shares: Sequence[Share], link: FolderMode) -> None:
    """Make a folder of files, whole or not at all.

    Args:
        target: The folder; absent, or empty.
        shares: What goes into it.
        link: `hardlink` for the trees' own read-only files, or copies where these lie on another
            file system; `copy` for files that may be written to.
    """
    with _making(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        private = _private(target)
        private.mkdir()
        try:
            populate(private, shares, link)
            private.rename(target)
        except BaseException:
            erase(private)
            raise


def populate(root: Path, shares: Sequence[Share], link: FolderMode) -> None:
    """Put the files of trees into a folder that is there."""
    work_through(_tasks(root, shares, link), n_threads=_N_THREADS, tool=partial(Hands, root))


def _tasks(root: Path, shares: Sequence[Share], link: FolderMode) -> Iterator[Task[Hands]]:
    do = copy_files if link == "copy" else link_files
    for files, paths in shares:
        pairs = iter(paths.items())
        while chunk := list(islice(pairs, _FILES_PER_TASK)):

            def run(
                hands: Hands, files: Path = files, chunk: list[tuple[str, str]] = chunk
            ) -> None:
                if missing := do(chunk, hands.source(files), hands.target, root):
                    raise FileNotFoundError(f"{files}/{chunk[missing[0]][0]}")

            yield run


def _private(target: Path) -> Path:
    return target.with_name(f".{target.name}.{leases.lease_name(leases.this_process())}")


def _sweep(target: Path) -> None:
    """Delete what killed processes left beside a folder that they were making."""
    for other in target.parent.glob(f".{target.name}.*-*-*.json"):
        with suppress(OSError, ValueError):
            if not leases.named_process_lives(other.name.removeprefix(f".{target.name}.")):
                erase(other)
