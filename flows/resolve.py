"""Make inputs available: `resolve_inputs` in code, `warm_cache` as a deployment."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import flow

from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.cache import Selection
from prefect_datasets.core.inputs import LinkMode, ResolvedInput
from prefect_datasets.core.layout import KeepDirectories
from prefect_datasets.core.progress import format_bytes
from prefect_datasets.core.store_spec import identity
from prefect_datasets.core.uri import DatasetUri, is_dataset_uri
from prefect_datasets.flows.templates import fill
from prefect_datasets.tasks.pins import note_input, pin, pinned
from prefect_datasets.tasks.resolve import resolve_input
from prefect_datasets.tasks.run import Run, current_run


def resolve_inputs(
    inputs: Mapping[str, str | Sequence[str]],
    *,
    store: DatasetStore | str | None = None,
    include: str | Sequence[str] | None = None,
    shard: tuple[int, int] | None = None,
    link: LinkMode = "symlink",
    keep_directories: KeepDirectories | None = None,
) -> dict[str, Path]:
    """Make inputs available on this machine, from the cache where they are there.

    Works in a flow, in a task and outside a run. In a flow run `latest` and aliases are looked up
    once: all inputs, and all attempts of the run, see the same version. From an async flow, call it
    by `await asyncio.to_thread(resolve_inputs, …)`, so that its event loop goes on meanwhile.

    Args:
        inputs: For each input its URI, or several: dataset versions, `datum://…`, plain URLs.
            `{scheduled:%Y-%m-%d}` in one is filled from the scheduled start of the flow run.
        store: A block, the name of a saved one, or a URL; left out, the default store.
        include: Globs of the files that are wanted; left out, all.
        shard: `(k, n)` for the k-th of n shares of the files, counted from 0.
        link: "symlink" gives the read-only tree of the cache, "hardlink" a folder of links to its
            files, "copy" a folder that may be written to.
        keep_directories: "full" keeps folders, "none" puts all files into one, "suffix" keeps what
            follows the folder that a URL names; left out, folders are kept.

    Returns:
        The folder of each input.

    Raises:
        NotFoundError: A version, alias or object does not exist.
        InvalidInputError: A URI is wrong, or two files would have the same path.
        IntegrityError: Stored bytes are damaged.
        NoSpaceError: The disk has no room.
    """
    block = choose_store(store)
    globs = (include,) if isinstance(include, str) else tuple(include or ())
    selection = Selection(include=globs, shard=shard)
    folders: dict[str, Path] = {}
    for name, uris in inputs.items():
        wanted = [uris] if isinstance(uris, str) else list(uris)
        folders[name] = _resolve(
            name, wanted, block, selection, link, keep_directories or "full"
        ).path
    return folders


@flow(name="warm-cache", flow_run_name="warm the cache")
def warm_cache(
    store: DatasetStore, uris: list[str], include: list[str] | None = None
) -> dict[str, str]:
    """Fetch dataset versions into the cache of the machine that runs this.

    Args:
        store: Where the versions are; its settings name the cache.
        uris: Versions or aliases, dataset://NAME/VERSION.
        include: Patterns of the files that are wanted. Empty: all files.
    """
    resolved = resolve_inputs({uri: uri for uri in uris}, store=store, include=include)
    return {uri: str(path) for uri, path in resolved.items()}


def _resolve(
    name: str,
    uris: Sequence[str],
    block: DatasetStore,
    selection: Selection,
    link: LinkMode,
    keep_directories: KeepDirectories,
) -> ResolvedInput:
    run = current_run()
    asked = [fill(uri) for uri in uris]
    wanted = [_as_pinned(run, uri, block) for uri in asked]
    # Never submitted: the caller reads the files on this machine.
    resolve = resolve_input if run is not None and run.can_submit else resolve_input.fn
    resolved = resolve(
        name,
        wanted,
        store=block,
        selection=selection,
        link=link,
        keep_directories=keep_directories,
    )
    if run is not None:
        _remember(run, name, asked, resolved, block)
    return resolved


def _as_pinned(run: Run | None, uri: str, block: DatasetStore) -> str:
    if run is None or not is_dataset_uri(uri):
        return uri
    found = pinned(run, DatasetUri.parse(uri), store=identity(block.spec()))
    return str(found) if found else uri


def _remember(
    run: Run, name: str, asked: Sequence[str], resolved: ResolvedInput, block: DatasetStore
) -> None:
    """Keep what the input was, and say so."""
    versions = iter(resolved.trees)
    uris: list[str] = []
    for uri in asked:
        if not is_dataset_uri(uri):
            uris.append(uri)
            continue
        tree = next(versions)
        uris.append(str(tree.uri))
        if str(tree.uri) != uri:
            pin(run, DatasetUri.parse(uri), tree.uri, store=identity(block.spec()))
        how = "from the cache" if tree.is_warm else f"{format_bytes(tree.n_fetched_bytes)} fetched"
        run.logger.info(
            "%s: %s, %s files, %s, %s",
            name,
            tree.uri,
            f"{tree.n_files:,}",
            format_bytes(tree.n_bytes),
            how,
        )
    note_input(run, name, uris)
