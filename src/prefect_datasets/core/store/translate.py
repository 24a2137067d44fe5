"""From the errors of libraries to ours: the one place that knows them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import (
    AccessDeniedError,
    DatasetError,
    NoSpaceError,
    NotFoundError,
    StoreError,
)

if TYPE_CHECKING:
    from prefect_datasets.core.store.base import Store

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def translating(what: str, store: Store, key: str) -> Iterator[None]:
    """Raise the engine's error for whatever a library raises in the block.

    Args:
        what: What is tried, as an infinitive: `read`.
        store: Where.
        key: On which object.
    """
    try:
        yield
    except (DatasetError, AssertionError):
        raise
    except Exception as error:
        raise translated(error, what=what, where=store.url_of(key)) from error


def translated(error: Exception, *, what: str, where: str) -> DatasetError:
    """Return the engine's error for `error`."""
    if isinstance(error, FileNotFoundError):
        return NotFoundError("No such object", subject=where)
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return NoSpaceError(f"No space left to {what} an object", subject=where)
    if isinstance(error, OSError) and error.errno in _DENIED:
        return AccessDeniedError(f"Not allowed to {what}", subject=where)
    return StoreError(f"Could not {what}: {type(error).__name__}: {error}", subject=where)
