"""What this machine's disk refuses, as errors that say what to do now."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import InvalidInputError, NoSpaceError

if TYPE_CHECKING:
    from pathlib import Path

CACHE_HINT = "Name another folder with --cache-dir or PREFECT_DATASETS_CACHE, or correct this one."
TARGET_HINT = "Name another folder, or correct what is in the way."

_ROOM = "Free some space; `prefect-datasets cache prune` helps where the cache is on it."
_FULL = (errno.ENOSPC, errno.EDQUOT)
# What another folder, another owner or other permissions would mend; a faulty disk is not of these.
_UNUSABLE = (
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)


@contextmanager
def usable(folder: Path, message: str, hint: str) -> Generator[None]:
    """Explain the errors of the operating system that are about `folder`, or below it.

    Args:
        folder: What can't be used, if anything is refused.
        message: What that means.
        hint: What to do about it.

    Raises:
        InvalidInputError: The folder can't be used as it is.
        NoSpaceError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpaceError("The disk is full", subject=str(folder), hint=_ROOM) from error
        if error.errno not in _UNUSABLE:
            raise
        why = os.strerror(error.errno)
        raise InvalidInputError(f"{message} ({why})", subject=str(folder), hint=hint) from error


def nearest(folder: Path) -> Path:
    """Return the first of `folder` and its parents that exists."""
    return next((place for place in (folder, *folder.parents) if os.path.lexists(place)), folder)
