"""The inputs of a step: brought to this machine, laid out, and described file by file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from prefect_datasets.core.cache.cache import Cache, Selection
from prefect_datasets.core.errors import DatasetError, InvalidInputError
from prefect_datasets.core.resolve.input_folder import FolderMode, populate
from prefect_datasets.core.resolve.inputs import ResolvedInput, resolve_input
from prefect_datasets.core.resolve.layout import KeepDirectories, base_name, lay_out, unchanged
from prefect_datasets.core.resolve.web import is_web, without_password
from prefect_datasets.core.uri import DatasetUri, DatumUri, is_dataset_uri
from prefect_datasets.core.versions import catalog
from prefect_datasets.valohai.running.config_files import InputFile
from prefect_datasets.valohai.running.data import Data, Datum, bring_data
from prefect_datasets.valohai.running.urls import object_url, understood

if TYPE_CHECKING:
    from prefect_datasets.core.progress import Progress
    from prefect_datasets.core.resolve.objects import Objects
    from prefect_datasets.core.resolve.resolve import Tree
    from prefect_datasets.core.store import Store
    from prefect_datasets.valohai.plan import InputPlan

_COLUMNS = ("path", "size", "sha256", "datum", "url", "metadata")


@dataclass(frozen=True, slots=True)
class Brought:
    """What one URI of an input brought.

    Attributes:
        asked: The URI.
        resolved: The same with its alias resolved.
        n_files: Number of files.
        n_bytes: Sum of their sizes.
        n_fetched_bytes: Bytes that were fetched now.
    """

    asked: str
    resolved: str
    n_files: int
    n_bytes: int
    n_fetched_bytes: int


@dataclass(frozen=True, slots=True)
class StepInput:
    """An input on this machine.

    Attributes:
        name: Its name.
        folder: The folder with its files; read-only trees of the cache, or the run's own.
        brought: What it was brought from.
        files: Its files, as the step sees them.
    """

    name: str
    folder: Path
    brought: tuple[Brought, ...] = ()
    files: tuple[InputFile, ...] = ()

    @property
    def uris(self) -> tuple[str, ...]:
        """The URIs it was brought from, aliases and `latest` resolved."""
        return tuple(each.resolved for each in self.brought)

    @property
    def n_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(file.n_bytes for file in self.files)

    @property
    def n_fetched_bytes(self) -> int:
        """Bytes that were fetched for it now."""
        return sum(each.n_fetched_bytes for each in self.brought)


@dataclass(frozen=True, slots=True)
class Source:
    """The files of one URI, or of all the datums among the URIs.

    Attributes:
        label: What it is, for errors.
        brought: The URIs, and what each brought.
        folder: A folder with the files.
        paths: For each file its path in `folder`, and what it shall be in the input.
        files: For each file, in the same order, what is known of it; names and paths are not yet.
        is_laid_out: Whether `folder` is what the input shall be.
    """

    label: str
    brought: tuple[Brought, ...]
    folder: Path
    paths: Mapping[str, str]
    files: tuple[InputFile, ...]
    is_laid_out: bool


def bring_input(
    plan: InputPlan,
    *,
    store: Store,
    cache: Cache,
    target: Path,
    place: str,
    folder_mode: FolderMode | Literal["mount"],
    progress: Progress,
) -> StepInput:
    """Make an input available.

    Args:
        plan: The input.
        store: Where versions and datums are.
        cache: Where trees are kept.
        target: The input's own folder, to be made; filled where no tree can serve as it is.
        place: Where the step sees the folder.
        folder_mode: `mount` if the step can be shown any folder at `place`; else how files get into
            `target`.
        progress: Is told.

    Raises:
        InvalidInputError: A URI has no known form, or two files would be one.
        DatasetError: As `resolve_input` does.
    """
    for name in (plan.name, plan.filename or "file"):
        _check_name(name, plan)
    target.mkdir()
    if not plan.uris:
        return StepInput(plan.name, target)
    asked: dict[str, str] = {}
    for uri in plan.uris:
        asked.setdefault(_pinned(understood(uri), store), uri)
    sources = _sources(asked, plan, store, cache, progress)
    sources = _renamed(sources, plan.filename)
    _check_apart(plan.name, sources)
    folder = target
    if folder_mode == "mount" and len(sources) == 1 and sources[0].is_laid_out:
        folder = sources[0].folder
    else:
        mode = "hardlink" if folder_mode == "mount" else folder_mode
        populate(target, [(source.folder, source.paths) for source in sources], mode)
    return StepInput(
        name=plan.name,
        folder=folder,
        brought=tuple(each for source in sources for each in source.brought),
        files=tuple(file for source in sources for file in _placed(source, place)),
    )


def _check_name(name: str, plan: InputPlan) -> None:
    """Raise `InvalidInputError` for what would lead out of the input's folder."""
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise InvalidInputError(
            f"{name!r} can't be the name of an input or of its file",
            subject=plan.name,
            hint="Write a name without slashes.",
        )


def _pinned(uri: str, store: Store) -> str:
    """Return the version that an alias or `latest` stands for now; what else it is, as it is."""
    return str(catalog.find(store, DatasetUri.parse(uri)).uri) if is_dataset_uri(uri) else uri


def _sources(
    uris: Mapping[str, str], plan: InputPlan, store: Store, cache: Cache, progress: Progress
) -> list[Source]:
    """Bring each URI, datums all at once, in the order of the first of them.

    `uris` says for each what it was asked for as.
    """
    sources: list[Source] = []
    data = [uri for uri in uris if uri.startswith("datum://")]
    for uri, asked in uris.items():
        if is_dataset_uri(uri):
            source = _version(uri, plan.keep_directories, store, cache, progress)
            sources.append(_asked_as(asked, source))
        elif uri not in data:
            source = _url(uri, plan.keep_directories or "none", store, cache, progress)
            sources.append(_asked_as(asked, source))
        elif uri == data[0]:
            sources.append(_data(data, plan.keep_directories or "none", store, cache, progress))
    return sources


def _asked_as(asked: str, source: Source) -> Source:
    if is_web(asked):
        asked = without_password(asked)
    return replace(source, brought=(replace(source.brought[0], asked=asked),))


# -- versions ------------------------------------------------------------------------------------


def _version(
    uri: str, keep: KeepDirectories | None, store: Store, cache: Cache, progress: Progress
) -> Source:
    keep = keep or _layout_of(DatasetUri.parse(uri), store)
    resolved = resolve_input(
        [uri], store=store, cache=cache, keep_directories=keep, progress=progress
    )
    (tree,) = resolved.trees
    rows = _rows(tree, cache)
    place = base_name if keep == "none" else unchanged
    paths: list[str] = rows["path"].to_pylist()
    return Source(
        label=uri,
        brought=(_of(uri, resolved),),
        folder=resolved.path,
        # A flat view has its files under their new names.
        paths={place(path): place(path) for path in paths},
        files=tuple(_described(row, uri, store) for row in rows.to_pylist()),
        is_laid_out=True,
    )


def _of(uri: str, resolved: ResolvedInput) -> Brought:
    return Brought(uri, uri, resolved.n_files, resolved.n_bytes, resolved.n_fetched_bytes)


def _layout_of(uri: DatasetUri, store: Store) -> KeepDirectories:
    """Return the layout where the file names none: as the version was published.

    One that was published with packages keeps its folders. Packages that were made later change
    nothing: they are not in its own record.
    """
    record = catalog.read_record(store, uri)
    return "full" if record is not None and record.is_packaged else "none"


def _rows(tree: Tree, cache: Cache) -> pa.Table:
    folder = cache.version(tree.uri, tree.digest, Selection()).parts
    names = sorted(folder.glob("*.parquet"), key=lambda path: int(path.stem))
    tables = [pq.read_table(name, columns=list(_COLUMNS)) for name in names]
    return pa.concat_tables(tables)


def _described(row: Mapping[str, Any], version: str, store: Store) -> InputFile:
    properties: dict[str, Any] = {}
    with suppress(ValueError, TypeError):
        properties = json.loads(row["metadata"] or "{}")
    return InputFile(
        name=row["path"],
        path="",
        n_bytes=row["size"],
        uri=f"datum://{row['datum']}",
        datum=row["datum"],
        storage_uri=store.url_of(row["url"]) if row["url"] else "",
        checksums={"sha256": row["sha256"].hex()},
        metadata={**properties, "valohai.dataset-versions": [version]},
    )


# -- plain URLs ----------------------------------------------------------------------------------


def _url(uri: str, keep: KeepDirectories, store: Store, cache: Cache, progress: Progress) -> Source:
    resolved = resolve_input(
        [uri], store=store, cache=cache, keep_directories=keep, progress=progress
    )
    (found,) = resolved.objects
    place = {"full": unchanged, "none": base_name, "suffix": partial(_below, found.folder)}[keep]
    paths = _walk(found)
    uri = without_password(uri) if is_web(uri) else uri
    files = tuple(
        InputFile(
            name=path,
            path="",
            n_bytes=n_bytes,
            uri=object_url(uri, path),
            storage_uri=object_url(uri, path),
        )
        for path, n_bytes in paths
    )
    return Source(
        label=uri,
        brought=(_of(uri, resolved),),
        folder=resolved.path,
        paths={place(path): place(path) for path, _ in paths},
        files=files,
        is_laid_out=True,
    )


def _below(folder: str, path: str) -> str:
    return path.removeprefix(folder)


def _walk(found: Objects) -> list[tuple[str, int]]:
    """Return path and size of each file of a tree, by path."""
    files = (file for file in found.path.rglob("*") if file.is_file())
    return sorted((str(file.relative_to(found.path)), file.stat().st_size) for file in files)


# -- datums --------------------------------------------------------------------------------------


def _data(
    uris: Sequence[str], keep: KeepDirectories, store: Store, cache: Cache, progress: Progress
) -> Source:
    data = bring_data([DatumUri.parse(uri) for uri in uris], store, cache, progress)
    place = base_name if keep == "none" else unchanged
    files = tuple(
        InputFile(
            name=datum.file.path,
            path="",
            n_bytes=datum.file.stored.length,
            uri=f"datum://{datum.file.id}",
            datum=datum.file.id,
            storage_uri=store.url_of(datum.file.stored.key),
            checksums={"sha256": datum.file.sha256.hex()} if datum.file.sha256 else {},
        )
        for datum in data.files
    )
    return Source(
        label=uris[0] if len(uris) == 1 else f"{len(uris)} datums",
        brought=tuple(_of_datum(datum, data) for datum in data.files),
        folder=data.folder,
        paths={datum.path: place(datum.file.path) for datum in data.files},
        files=files,
        is_laid_out=False,
    )


def _of_datum(datum: Datum, data: Data) -> Brought:
    """Return what one datum brought; all were fetched together, or none."""
    n_bytes = datum.file.stored.length
    fetched = n_bytes if data.n_fetched_bytes else 0
    return Brought(datum.asked, f"datum://{datum.file.id}", 1, n_bytes, fetched)


# -- together ------------------------------------------------------------------------------------


def _renamed(sources: list[Source], filename: str | None) -> list[Source]:
    """Give the only file the name that the input asks for; ignored where there are several."""
    if filename is None or sum(len(source.paths) for source in sources) != 1:
        return sources
    (source,) = (each for each in sources if each.paths)
    (path,) = source.paths
    return [replace(source, paths={path: filename}, is_laid_out=path == filename)]


def _check_apart(name: str, sources: Sequence[Source]) -> None:
    """Raise `InvalidInputError` where two files would be one; both are named."""
    if len(sources) == 1 and sources[0].is_laid_out:
        return
    labelled = [
        (
            f"{file.uri} {file.name}".strip() if len(source.brought) > 1 else source.label,
            path,
            placed,
        )
        for source in sources
        for (path, placed), file in zip(source.paths.items(), source.files, strict=True)
    ]
    try:
        lay_out(
            [(label, [path], lambda _, placed=placed: placed) for label, path, placed in labelled]
        )
    except DatasetError as error:
        raise InvalidInputError(
            f"Input {name!r}: {error.message}", subject=error.subject, hint=error.hint
        ) from error


def _placed(source: Source, place: str) -> list[InputFile]:
    pairs = zip(source.paths.values(), source.files, strict=True)
    return [replace(file, name=name, path=f"{place}/{name}") for name, file in pairs]
