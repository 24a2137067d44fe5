"""The folders of a tree in the making, made and opened as files need them."""

from __future__ import annotations

import errno
import os

from prefect_datasets.core.errors import InvalidInputError, NoSpaceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# For each of 24 threads in two trees; a process may have 1,024 files open, and has others.
_MOST_OPEN = 12


class Folders:
    """Open folders below `root`, by path; one thread's own.

    Files are created relative to these, so nothing outside of the tree can be reached.

    Args:
        root: The tree; exists.
        make: Make folders that are missing.
        made: Gets the paths of those that were made.
    """

    def __init__(
        self, root: Path | str, *, make: bool = False, made: set[str] | None = None
    ) -> None:
        self._make = make
        self._made: set[str] = set() if made is None else made
        self._root = os.open(root, _OPEN)
        self._open: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all handles."""
        self._forget()
        os.close(self._root)

    def get(self, folder: str) -> int:
        """Return a handle for a folder, good until the next call; empty stands for the root."""
        if not folder:
            return self._root
        handle = self._open.get(folder)
        return self._enter(folder) if handle is None else handle

    def _enter(self, folder: str) -> int:
        if len(self._open) >= _MOST_OPEN:
            self._forget()
        try:
            handle = os.open(folder, _OPEN, dir_fd=self._root)
        except FileNotFoundError:
            if not self._make:
                raise
            self._mkdir(folder)
            handle = os.open(folder, _OPEN, dir_fd=self._root)
        self._open[folder] = handle
        return handle

    def _mkdir(self, folder: str) -> None:
        try:
            os.mkdir(folder, 0o755, dir_fd=self._root)
            self._made.add(folder)
        except FileExistsError:  # another thread was first
            return
        except FileNotFoundError:
            parent, slash, _ = folder.rpartition("/")
            if not slash:  # the root itself was deleted
                raise
            self._mkdir(parent)
            self._mkdir(folder)

    def _forget(self) -> None:
        for handle in self._open.values():
            os.close(handle)
        self._open.clear()


def explain(error: OSError, path: str, root: Path | str) -> Exception:
    """Return the error to raise where a file could not be made in a tree."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return no_space(path, root)
        case errno.EEXIST | errno.ENOTDIR | errno.EISDIR:
            return InvalidInputError(
                "Two files of the version have names that this file system takes for one",
                subject=f"{path} in {root}",
                hint="Put the cache on a file system that tells case and accents apart.",
            )
        case errno.ENAMETOOLONG | errno.EILSEQ | errno.EINVAL:
            return InvalidInputError(
                f"The file system of the cache refuses a name ({error.strerror})",
                subject=f"{path} in {root}",
                hint="Put the cache on another file system, or in a folder with a shorter path.",
            )
        case _:
            return error


def no_space(what: str, root: Path | str) -> NoSpaceError:
    """Return the error for a disk that is full."""
    return NoSpaceError(
        f"The disk is full at {what}",
        subject=str(root),
        hint="Free some space, `prefect-datasets cache prune` helps; what was fetched is kept.",
    )


def lock_folders(root: Path | str, made: Iterable[str] | None = None) -> None:
    """Make the folders of a finished tree read-only; `made` are all there are, if it is known."""
    if made is not None:
        with Folders(root) as folders:
            for folder in ("", *made):
                os.fchmod(folders.get(folder), 0o555)
        return
    for _, _, _, handle in os.fwalk(root, follow_symlinks=False):
        os.fchmod(handle, 0o555)
