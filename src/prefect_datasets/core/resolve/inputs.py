"""An input of a run: what one or several URIs name, in one folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from prefect_datasets.core.cache.cache import COPIES, VIEWS, Cache, Entry, Ready, Selection
from prefect_datasets.core.cache.folders import lock_folders
from prefect_datasets.core.errors import IntegrityError, InvalidInputError
from prefect_datasets.core.progress import NoProgress
from prefect_datasets.core.resolve.layout import KeepDirectories, base_name, lay_out, unchanged
from prefect_datasets.core.resolve.local_disk import CACHE_HINT, usable
from prefect_datasets.core.resolve.obtain import obtain
from prefect_datasets.core.resolve.resolve import Tree, resolve_version
from prefect_datasets.core.store_spec import StoreSpec
from prefect_datasets.core.uri import DatasetUri, DatumUri, is_dataset_uri

if TYPE_CHECKING:
    from prefect_datasets.core.cache.attempt import Attempt
    from prefect_datasets.core.progress import Progress
    from prefect_datasets.core.resolve.input_folder import FolderMode
    from prefect_datasets.core.resolve.objects import Objects
    from prefect_datasets.core.store import Store

LinkMode = Literal["symlink", "hardlink", "copy"]

_ALL = Selection()
_QUIET = NoProgress()


@dataclass(frozen=True, slots=True)
class ResolvedInput:
    """An input on this machine.

    Attributes:
        path: The folder, or where `target` was given that.
        trees: The versions it is made of, in the order of the URIs.
        objects: What plain URLs and datum ids brought, likewise.
        n_files: Number of files.
        n_bytes: Sum of their sizes.
        n_fetched_bytes: Bytes that were fetched for it now.
        is_warm: Nothing had to be fetched.
    """

    path: Path
    trees: tuple[Tree, ...]
    objects: tuple[Objects, ...]
    n_files: int
    n_bytes: int
    n_fetched_bytes: int
    is_warm: bool


@dataclass(frozen=True, slots=True)
class _Source:
    """One URI's tree, and where its files go."""

    uri: str
    found: Tree | Objects
    place: Callable[[str], str]
    layout: str


def resolve_input(
    uris: Sequence[str],
    *,
    store: Store | StoreSpec,
    cache: Cache,
    target: Path | None = None,
    link: LinkMode = "symlink",
    keep_directories: KeepDirectories = "full",
    selection: Selection = _ALL,
    progress: Progress = _QUIET,
) -> ResolvedInput:
    """Make what URIs name available in one folder.

    Args:
        uris: `dataset://`, `datum://` and other URLs; in these `*` and `**` are wildcards.
        store: Where versions and datums are; opened only if it has to be asked.
        cache: Where trees are kept.
        target: The folder to make; it must not exist or be empty. Left out, a folder of the cache.
        link: `symlink` for a link to a read-only tree, `hardlink` for a folder of the same
            read-only files, `copy` for a folder of files that may be written to.
        keep_directories: `full` keeps all folders, `suffix` those below the first wildcard of a
            URL, `none` puts all files into one folder.
        selection: Which files of versions.
        progress: Who is told.

    Raises:
        InvalidInputError: A URI has no known form, two files would be one, or `target` is in use.
        NotFoundError: There is no such version, datum or object.
        IntegrityError: Stored bytes are damaged, in every copy.
        NoSpaceError: The disk has no room.
        StoreError: The store failed.
    """
    if target is not None:
        from prefect_datasets.core.resolve import input_folder  # noqa: PLC0415  (a tree needs none)

        input_folder.check_target(target)
    with usable(cache.root, "The cache can't be used", CACHE_HINT):
        sources = [
            _resolve(uri, store, cache, keep_directories, selection, progress) for uri in uris
        ]
        path = _place(sources, cache, target, link, progress)
    return _result(path, sources)


def _place(
    sources: Sequence[_Source],
    cache: Cache,
    target: Path | None,
    link: LinkMode,
    progress: Progress,
) -> Path:
    """Make the input's folder, at `target` or in the cache; return it."""
    if target is None:
        make = {"symlink": _tree_of, "hardlink": _view_of, "copy": _copy_of}[link]
        return make(sources, cache, progress)
    from prefect_datasets.core.resolve import input_folder  # noqa: PLC0415  (see above)

    if link == "symlink":
        input_folder.point(target, _tree_of(sources, cache, progress))
    else:
        input_folder.make(target, _parts(sources), link)
    return target


def _resolve(
    uri: str,
    store: Store | StoreSpec,
    cache: Cache,
    keep: KeepDirectories,
    selection: Selection,
    progress: Progress,
) -> _Source:
    if is_dataset_uri(uri):
        tree = resolve_version(
            DatasetUri.parse(uri), store=store, cache=cache, selection=selection, progress=progress
        )
        place = base_name if keep == "none" else unchanged
        return _Source(f"{tree.uri}", tree, place, keep)
    if not selection.is_all:
        raise InvalidInputError(
            "Include and shard choose among the files of a version, and this is none",
            subject=uri,
            hint="Choose with wildcards in the URL, or publish the files as a version.",
        )
    found = _objects(uri, store, cache, progress)
    place = {"full": unchanged, "none": base_name, "suffix": partial(_below, found.folder)}[keep]
    return _Source(uri, found, place, f"{keep} {found.folder}")


def _below(folder: str, path: str) -> str:
    return path.removeprefix(folder)


def _objects(uri: str, store: Store | StoreSpec, cache: Cache, progress: Progress) -> Objects:
    # Not for versions: what these import would cost more than a warm resolve.
    from prefect_datasets.core.resolve import listing, objects, web  # noqa: PLC0415
    from prefect_datasets.core.versions import datums  # noqa: PLC0415

    if web.is_web(uri):
        return web.resolve_web(uri, cache=cache, progress=progress)
    opened = store.open() if isinstance(store, StoreSpec) else store
    if uri.startswith("datum://"):
        file = datums.find_datum(opened, DatumUri.parse(uri))
        return objects.resolve_objects(
            listing.of_datum(uri, file, opened), cache=cache, progress=progress
        )
    return objects.resolve_objects(
        listing.list_url(uri, like=opened), cache=cache, progress=progress
    )


# -- one folder of several trees ----------------------------------------------------------------


def _tree_of(sources: Sequence[_Source], cache: Cache, progress: Progress) -> Path:
    """Return a read-only folder of the cache with everything; a tree itself where that is it."""
    if len(sources) == 1 and sources[0].place is unchanged:
        return sources[0].found.path
    return _view_of(sources, cache, progress)


def _view_of(sources: Sequence[_Source], cache: Cache, progress: Progress) -> Path:
    """Return a folder of the cache with links to the files of all trees."""
    names = [[str(source.found.path.relative_to(cache.root)), source.layout] for source in sources]
    digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()
    entry = Entry(cache.root, VIEWS, "inputs", digest[:32])
    obtain(cache, entry, partial(_build, sources=sources, digest=digest), progress)
    return entry.files


def _copy_of(sources: Sequence[_Source], cache: Cache, progress: Progress) -> Path:
    """Return a new folder of the cache with copies that may be written to."""
    entry = Entry(cache.root, COPIES, "inputs", os.urandom(16).hex())
    build = partial(_build, sources=sources, digest=entry.name, link="copy")
    obtain(cache, entry, build, progress)
    return entry.files


def _build(
    attempt: Attempt, *, sources: Sequence[_Source], digest: str, link: FolderMode = "hardlink"
) -> Ready:
    from prefect_datasets.core.resolve import input_folder  # noqa: PLC0415  (see above)

    n_files, n_bytes = _totals(sources)
    input_folder.populate(attempt.files, _parts(sources), link)
    if link != "copy":
        lock_folders(attempt.files)
    return Ready(
        uri=" ".join(source.uri for source in sources),
        digest=digest,
        n_files=n_files,
        n_bytes=n_bytes,
        n_linked_files=n_files,
    )


def _parts(sources: Sequence[_Source]) -> list[tuple[Path, dict[str, str]]]:
    """Return for each tree which of its paths becomes which in the folder."""
    placed = lay_out([(source.uri, _paths(source.found), source.place) for source in sources])
    return [(source.found.path, paths) for source, paths in zip(sources, placed, strict=True)]


def _paths(found: Tree | Objects) -> list[str]:
    paths = list(_walk(found.path))
    if len(paths) != found.n_files:
        raise IntegrityError(
            f"Somebody changed the cache: there are {len(paths):,} of {found.n_files:,} files",
            subject=str(found.path),
            hint="Run `prefect-datasets cache verify --repair` and try again.",
        )
    return paths


def _walk(files: Path) -> Iterator[str]:
    root = os.fspath(files)
    for folder, _, names in os.walk(root):
        prefix = folder[len(root) + 1 :]
        yield from (f"{prefix}/{name}" if prefix else name for name in names)


def _totals(sources: Sequence[_Source]) -> tuple[int, int]:
    found = [source.found for source in sources]
    return sum(tree.n_files for tree in found), sum(tree.n_bytes for tree in found)


def _result(path: Path, sources: Sequence[_Source]) -> ResolvedInput:
    n_files, n_bytes = _totals(sources)
    found = [source.found for source in sources]
    return ResolvedInput(
        path=path,
        trees=tuple(tree for tree in found if isinstance(tree, Tree)),
        objects=tuple(tree for tree in found if not isinstance(tree, Tree)),
        n_files=n_files,
        n_bytes=n_bytes,
        n_fetched_bytes=sum(tree.n_fetched_bytes for tree in found),
        is_warm=all(tree.is_warm for tree in found),
    )
