"""Make inputs available: `resolve_inputs` in code, `warm_cache` as a deployment."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from prefect import flow

from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.cache.cache import Selection
from prefect_datasets.core.progress import format_bytes
from prefect_datasets.core.resolve.inputs import LinkMode, ResolvedInput
from prefect_datasets.core.resolve.layout import KeepDirectories
from prefect_datasets.core.store_spec import identity
from prefect_datasets.core.uri import DatasetUri, is_dataset_uri
from prefect_datasets.flows.forms import ONE_FILLED_ROW, Patterns, VersionUris, described, titled
from prefect_datasets.flows.templates import fill
from prefect_datasets.tasks.pins import Answer, keep, pinned
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
    run = current_run()
    folders: dict[str, Path] = {}
    answers: list[Answer] = []
    for name, uris in inputs.items():
        asked = [fill(uri) for uri in ([uris] if isinstance(uris, str) else uris)]
        resolved = _call(run)(
            name,
            [_as_pinned(run, uri, block) for uri in asked],
            store=block,
            selection=selection,
            link=link,
            keep_directories=keep_directories or "full",
        )
        folders[name] = resolved.path
        answers += _answers(name, asked, resolved, block)
    if run is not None:
        _tell(run, answers)
    return folders


@described
@flow(name="warm-cache", flow_run_name="warm the cache")
def warm_cache(
    store: Annotated[DatasetStore, titled("Store")],
    uris: Annotated[VersionUris, titled("Versions", ONE_FILLED_ROW, min_length=1)],
    include: Annotated[Patterns, titled("Only these files")] = [],  # noqa: B006 - nobody changes it
) -> dict[str, str]:
    """Fetch dataset versions into the cache of the machine that runs this.

    Args:
        store: Where the versions are; its settings name the cache.
        uris: Versions or aliases, dataset://NAME/VERSION.
        include: Patterns of the files that are wanted, such as cats/*.jpg. Empty: all files.
    """
    resolved = resolve_inputs({uri: uri for uri in uris}, store=store, include=include)
    return {uri: str(path) for uri, path in resolved.items()}


def _call(run: Run | None) -> Callable[..., ResolvedInput]:
    """Return the task where there is a flow; it is not submitted: the files are read right here."""
    return resolve_input if run is not None and run.can_submit else resolve_input.fn


def _as_pinned(run: Run | None, uri: str, block: DatasetStore) -> str:
    if run is None or not is_dataset_uri(uri):
        return uri
    found = pinned(run, DatasetUri.parse(uri), store=identity(block.spec()))
    return str(found) if found else uri


def _answers(
    name: str, asked: Sequence[str], resolved: ResolvedInput, block: DatasetStore
) -> Iterator[Answer]:
    trees, objects = iter(resolved.trees), iter(resolved.objects)
    store = identity(block.spec())
    for uri in asked:
        found = next(trees) if is_dataset_uri(uri) else next(objects)
        yield Answer(
            name=name,
            asked=uri,
            resolved=str(found.uri),
            store=store,
            n_files=found.n_files,
            n_bytes=found.n_bytes,
            n_fetched_bytes=found.n_fetched_bytes,
        )


def _tell(run: Run, answers: Sequence[Answer]) -> None:
    """Keep and show what the inputs were."""
    for answer in answers:
        fetched = answer.n_fetched_bytes
        run.logger.info(
            "%s: %s, %s files, %s, %s",
            answer.name,
            answer.resolved,
            f"{answer.n_files:,}",
            format_bytes(answer.n_bytes),
            f"{format_bytes(fetched)} fetched" if fetched else "from the cache",
        )
    keep(run, answers)
