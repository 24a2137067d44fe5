"""Whether an object is still what it was when it was listed.

A stamp is a number of what a store says of an object: its ETag (on Google Cloud Storage its
generation), or where the store has none, the time of its last change.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import IntegrityError, NotFoundError, SourceChangedError

if TYPE_CHECKING:
    from prefect_datasets.core.store.base import ObjectInfo, Range, Store

_HINT = "Publish again when nothing writes below the prefix any more."


def stamp_of(info: ObjectInfo) -> int:
    """Return an object's stamp, a signed 64-bit integer."""
    if not info.etag:
        return int(info.modified * 1e9)
    digest = blake2b(info.etag.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def read_as_listed(store: Store, wanted: Range, *, n_bytes: int, stamp: int) -> memoryview:
    """Return bytes of an object that is what it was.

    Args:
        store: Where it is.
        wanted: Which bytes.
        n_bytes: Its size when it was listed.
        stamp: Its stamp then.

    Raises:
        SourceChangedError: It is another by now, or has gone.
        StoreError: The store failed.
    """
    try:
        data, now = store.read_with_info(wanted)
    except NotFoundError as error:
        raise _error("The object vanished while it was published", store, wanted.key) from error
    except IntegrityError as error:
        raise has_changed(store, wanted.key) from error
    if now.n_bytes != n_bytes or stamp_of(now) != stamp:
        raise has_changed(store, wanted.key)
    return data


def has_changed(store: Store, key: str) -> SourceChangedError:
    """Return the error for an object that is not what it was."""
    return _error("The object changed while it was published", store, key)


def _error(message: str, store: Store, key: str) -> SourceChangedError:
    return SourceChangedError(message, subject=store.url_of(key), hint=_HINT)
