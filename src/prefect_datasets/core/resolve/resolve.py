"""Make versions and other inputs available on this machine; all that callers need.

A version that is in the cache costs a few system calls, whatever its number of files: neither the
store nor Arrow is even imported. That is why imports stand inside functions here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_datasets.core.cache.cache import VERSIONS, Cache, Entry, Ready, Selection
from prefect_datasets.core.progress import NoProgress, Progress
from prefect_datasets.core.resolve.ahead import Begun, FirstTable, Loading
from prefect_datasets.core.resolve.head import PackageHead
from prefect_datasets.core.resolve.local_disk import CACHE_HINT, usable
from prefect_datasets.core.resolve.obtain import obtain, warm
from prefect_datasets.core.store_name import record_stamp
from prefect_datasets.core.store_spec import StoreSpec, identity
from prefect_datasets.core.uri import LATEST, DatasetUri

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect_datasets.core.cache.attempt import Attempt
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.reads import CostModel
    from prefect_datasets.core.store import Store

__all__ = ["Selection", "StoreSpec", "Tree", "resolve_version"]

_ALL = Selection()
_QUIET = NoProgress()


@dataclass(frozen=True, slots=True)
class Tree:
    """A version's files on this machine, read-only.

    Attributes:
        path: The folder with the files.
        uri: The version; what `latest` or an alias stood for.
        digest: Digest of the version's files.
        n_files: Number of files here.
        n_bytes: Sum of their sizes.
        n_fetched_bytes: Bytes that were fetched for it now, tables included.
        n_linked_files: Files that were linked from other trees now.
        is_warm: It was there already.
    """

    path: Path
    uri: DatasetUri
    digest: str
    n_files: int
    n_bytes: int
    n_fetched_bytes: int
    n_linked_files: int
    is_warm: bool


def resolve_version(
    uri: DatasetUri,
    *,
    store: Store | StoreSpec,
    cache: Cache,
    selection: Selection = _ALL,
    progress: Progress = _QUIET,
    cost: CostModel | None = None,
) -> Tree:
    """Return a version's files as a folder, from the cache or by way of it.

    Args:
        uri: The version, an alias or `latest`.
        store: Where it was published; opened only if it has to be asked.
        cache: Where the files will be.
        selection: Which of its files.
        progress: Who is told.
        cost: What reading from the store costs; guessed from its kind if left out.

    Raises:
        NotFoundError: There is no such version.
        InvalidInputError: The cache's folder can't be used.
        IntegrityError: Its stored bytes are damaged, in every copy.
        NoSpaceError: The disk has no room for it.
        StoreError: The store failed.
    """
    with usable(cache.root, "The cache can't be used", CACHE_HINT):
        return _resolve(uri, store, cache, selection, progress, cost)


def _resolve(
    uri: DatasetUri,
    store: Store | StoreSpec,
    cache: Cache,
    selection: Selection,
    progress: Progress,
    cost: CostModel | None,
) -> Tree:
    name, stamp = identity(store), _stamp(store, uri)
    if stamp is not None and (digest := cache.digest_of(name, uri, stamp=stamp)):
        entry = cache.version(uri, digest, selection)
        if ready := warm(cache, entry):
            return _tree(entry, uri, ready, is_warm=True)
    with Loading() as loading:
        if not cache.names(VERSIONS, uri.dataset):  # else it may be there, by an alias
            loading.begin()
        opened = store.open() if isinstance(store, StoreSpec) else store
        record = _find(opened, uri)
        entry = cache.version(record.uri, record.digest, selection)
        build = _builder(record, selection, opened, progress, cost, loading)
        ready, is_warm = obtain(cache, entry, build, progress)
    if (stamp := _stamp(store, record.uri)) is not None:
        cache.point(name, record.uri, record.digest, stamp=stamp)
    return _tree(entry, record.uri, ready, is_warm=is_warm)


def _find(store: Store, uri: DatasetUri) -> VersionRecord:
    from prefect_datasets.core.versions import catalog  # noqa: PLC0415  (see above)

    return catalog.find(store, uri)


def _builder(
    record: VersionRecord,
    selection: Selection,
    store: Store,
    progress: Progress,
    cost: CostModel | None,
    loading: Loading,
) -> Callable[[Attempt], Ready]:
    def build(attempt: Attempt) -> Ready:
        from prefect_datasets.core.resolve.mirror import Mirror, tree_before  # noqa: PLC0415  (see above)
        from prefect_datasets.core.resolve.writers import Writers  # noqa: PLC0415  (likewise)

        loading.begin()
        cache, files = attempt.cache, attempt.files
        is_tried = _is_tried(attempt)
        part = None if is_tried or _has_tables(attempt, record) else record.parts[0]
        is_all_new = selection.is_all and not cache.names(VERSIONS, record.uri.dataset)
        is_next = selection.is_all and not is_tried
        with (
            Writers(files, record.n_files) as writers,
            Mirror(
                cache,
                tree_before(cache, attempt.entry, record) if is_next else None,
                files,
                writers=writers,
            ) as mirror,
            PackageHead(store, part if is_all_new else None, writers.lend) as head,
            FirstTable(store, part.table if part else None) as first,
        ):
            from prefect_datasets.core.resolve import extract  # noqa: PLC0415  (see above)

            begun = Begun(writers, mirror, first, head)
            return extract.build_version(
                record, selection, attempt, store=store, progress=progress, begun=begun, cost=cost
            )

    return build


def _is_tried(attempt: Attempt) -> bool:
    """Tell whether there may be other attempts at the same tree."""
    try:
        names = os.listdir(attempt.entry.attempts)  # noqa: PTH208  (names are enough)
    except OSError:
        return True
    return not {*names} <= {"lock", attempt.folder.name}


def _has_tables(attempt: Attempt, record: VersionRecord) -> bool:
    """Tell whether its tables may lie here, of other selections, or there is none."""
    if not record.parts:
        return True
    trees = attempt.cache.names(VERSIONS, attempt.entry.group)
    return any(f"-{record.digest[:16]}" in name for name in trees)


def _tree(entry: Entry, uri: DatasetUri, ready: Ready, *, is_warm: bool) -> Tree:
    return Tree(
        path=entry.files,
        uri=uri,
        digest=ready.digest,
        n_files=ready.n_files,
        n_bytes=ready.n_bytes,
        n_fetched_bytes=0 if is_warm else ready.n_fetched_bytes,
        n_linked_files=0 if is_warm else ready.n_linked_files,
        is_warm=is_warm,
    )


def _stamp(store: Store | StoreSpec, uri: DatasetUri) -> str | None:
    """Return what a version's record looks like now; None where no version is, or none is meant."""
    return None if uri.version == LATEST else record_stamp(store.url, uri.dataset, uri.version)
