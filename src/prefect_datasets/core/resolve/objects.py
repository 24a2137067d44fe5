"""Files behind plain URLs and datum ids, as trees of the cache.

Nothing says that they never change, so they are listed each time. What looks as it did before is
linked from the tree of before, the rest is fetched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.cache import OBJECTS, Cache, Entry, Ready
from prefect_datasets.core.cache.folders import lock_folders
from prefect_datasets.core.columns import Int64s, strings
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.resolve.crew import Task, work_through
from prefect_datasets.core.resolve.extract import fetch_tasks, n_threads
from prefect_datasets.core.resolve.fetch import Fetcher, Members
from prefect_datasets.core.resolve.hands import Hands
from prefect_datasets.core.resolve.link import link_files
from prefect_datasets.core.resolve.listing import Item, Listing
from prefect_datasets.core.resolve.obtain import obtain
from prefect_datasets.core.resolve.room import make_room
from prefect_datasets.core.resolve.writers import Writers
from prefect_datasets.core.store_spec import identity

if TYPE_CHECKING:
    from pathlib import Path

    from prefect_datasets.core.cache.attempt import Attempt
    from prefect_datasets.core.progress import Progress

_ITEMS = "objects.json"


@dataclass(frozen=True, slots=True)
class Objects:
    """Files of a plain URL or a datum's id on this machine, read-only.

    Attributes:
        path: The folder with the files, in all folders of their keys.
        uri: The URL or id.
        digest: Digest of what was known of the objects: keys, sizes, times.
        folder: The part of all paths before the first wildcard, with the `/` at its end.
        n_files: Number of files.
        n_bytes: Sum of their sizes.
        n_fetched_bytes: Bytes that were fetched for it now.
        is_warm: It was there already.
    """

    path: Path
    uri: str
    digest: str
    folder: str
    n_files: int
    n_bytes: int
    n_fetched_bytes: int
    is_warm: bool

    @classmethod
    def of(cls, entry: Entry, ready: Ready, *, folder: str, is_warm: bool) -> Self:
        """Describe a tree of the cache."""
        return cls(
            path=entry.files,
            uri=ready.uri,
            digest=ready.digest,
            folder=folder,
            n_files=ready.n_files,
            n_bytes=ready.n_bytes,
            n_fetched_bytes=0 if is_warm else ready.n_fetched_bytes,
            is_warm=is_warm,
        )


def resolve_objects(listing: Listing, *, cache: Cache, progress: Progress) -> Objects:
    """Make listed objects available as a tree.

    Raises:
        NotFoundError: An object was deleted after it was listed.
        NoSpaceError: The disk has no room.
        StoreError: The store failed.
    """
    digest = _digest(listing)
    group = hashlib.sha256(f"{identity(listing.store)} {listing.uri}".encode()).hexdigest()[:16]
    entry = Entry(cache.root, OBJECTS, group, digest[:32])
    build = partial(_build, cache=cache, listing=listing, digest=digest, progress=progress)
    ready, is_warm = obtain(cache, entry, build, progress)
    return Objects.of(entry, ready, folder=listing.folder, is_warm=is_warm)


def _digest(listing: Listing) -> str:
    known = json.dumps([identity(listing.store), [asdict(item) for item in listing.items]])
    return hashlib.sha256(known.encode()).hexdigest()


def _build(
    attempt: Attempt, *, cache: Cache, listing: Listing, digest: str, progress: Progress
) -> Ready:
    items = listing.items
    n_bytes = sum(item.n_bytes for item in items)
    needs = (n_bytes, len(items))
    make_room(cache, listing.uri, needs, lambda: needs)
    progress.start(f"fetching {listing.uri}", n_files=len(items), n_bytes=n_bytes)
    old = _linked(attempt, items)
    rows = np.array([row for row in range(len(items)) if row not in old], np.int64)
    n_fetched_bytes = _fetch(attempt, listing, rows, progress)
    body = json.dumps([asdict(item) for item in items])
    (attempt.parts / _ITEMS).write_text(body)
    lock_folders(attempt.files)
    return Ready(
        uri=listing.uri,
        digest=digest,
        n_files=len(items),
        n_bytes=n_bytes,
        n_fetched_bytes=n_fetched_bytes,
        n_linked_files=len(old),
        host=leases.this_host(),
        boot=leases.this_boot(),
    )


def _fetch(attempt: Attempt, listing: Listing, rows: Int64s, progress: Progress) -> int:
    """Fetch items and return how many bytes that were."""
    # Each is a request of its own: processes that write would wait for those.
    with Writers(attempt.files, 0) as writers:
        fetcher = Fetcher(
            listing.store, attempt, writers=writers, cost=CostModel(), progress=progress
        )
        tool = partial(Hands, attempt.files, listing.store)
        work_through(
            _tasks(fetcher, listing.items, rows), n_threads=n_threads(listing.store), tool=tool
        )
    return fetcher.n_fetched_bytes


def _tasks(fetcher: Fetcher, items: tuple[Item, ...], rows: Int64s) -> Iterator[Task[Hands]]:
    # Objects with a known digest apart: a column is known for all rows or for none.
    known = np.array([bool(items[int(row)].sha256) for row in rows], np.bool_)
    for some, is_known in ((rows[known], True), (rows[~known], False)):
        if len(some):
            members = _members(items, is_known=is_known)
            yield from fetch_tasks(fetcher, members, some)


def _members(items: tuple[Item, ...], *, is_known: bool) -> Members:
    """Return objects as members: each is its own package, or lies in one."""
    keys = tuple(dict.fromkeys(item.key for item in items))
    numbers = {key: number for number, key in enumerate(keys)}
    return Members(
        part=0,
        paths=strings([item.path for item in items]),
        sizes=np.array([item.n_bytes for item in items], np.int64),
        digests=_digests(items) if is_known else None,
        crc32s=None,
        packages=keys,
        package_of=np.array([numbers[item.key] for item in items], np.int64),
        offsets=np.array([item.start for item in items], np.int64),
        urls=lambda rows: [None] * len(rows),
    )


def _digests(items: tuple[Item, ...]) -> pa.Array:
    joined = b"".join(bytes.fromhex(item.sha256) or bytes(32) for item in items)
    return pa.Array.from_buffers(pa.binary(32), len(items), [None, pa.py_buffer(joined)])


def _linked(attempt: Attempt, items: tuple[Item, ...]) -> set[int]:
    """Link what an earlier tree of the same URL holds; return the numbers of these items."""
    done: set[int] = set()
    for other in attempt.cache.entries(OBJECTS):
        if other.group != attempt.entry.group or len(done) == len(items):
            continue
        lease = attempt.cache.lease(other)
        if lease is not None:
            try:
                done |= _link_from(other, attempt, items, done)
            finally:
                leases.give_back(lease)
    return done


def _link_from(other: Entry, attempt: Attempt, items: tuple[Item, ...], done: set[int]) -> set[int]:
    there = _known_items(other)
    rows = [row for row, item in enumerate(items) if row not in done and item in there]
    if not rows:
        return set()
    pairs = [(items[row].path, items[row].path) for row in rows]
    with Hands(attempt.files) as hands:
        source = hands.source(other.files)
        missing = set(link_files(pairs, source, hands.target, attempt.files))
    return {row for number, row in enumerate(rows) if number not in missing}


def _known_items(other: Entry) -> set[Item]:
    if other.read_ready() is None:
        return set()
    try:
        return {Item(**item) for item in json.loads((other.parts / _ITEMS).read_bytes())}
    except (OSError, ValueError, TypeError):
        return set()
