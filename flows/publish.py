"""Publish dataset versions: `publish_outputs` in code, `publish_directory` as a deployment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from prefect import flow
from prefect.futures import PrefectFuture, as_completed
from pydantic import BaseModel, ConfigDict, Field

from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core import publish as engine
from prefect_datasets.core.catalog import DatasetVersion
from prefect_datasets.core.declarations import VersionDeclaration, parse_base
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.plan_publish import Plan, VersionPlan
from prefect_datasets.core.plan_version import PartPlan
from prefect_datasets.core.progress import Progress
from prefect_datasets.core.record import Part
from prefect_datasets.core.uri import DatasetUri, check_new_version_name
from prefect_datasets.flows.templates import fill
from prefect_datasets.tasks.commit import commit_version
from prefect_datasets.tasks.package import package_version
from prefect_datasets.tasks.policy import unseen
from prefect_datasets.tasks.progress import Share, progress_of_task, shared
from prefect_datasets.tasks.provenance import provenance
from prefect_datasets.tasks.run import current_run
from prefect_datasets.tasks.upload import upload_files

_PACKAGING: dict[str, bool | Literal["auto"] | None] = {
    "store": None,
    "on": True,
    "off": False,
    "auto": "auto",
}

# More, and a Prefect server on SQLite loses states of task runs.
MAX_TASK_RUNS = 200


def publish_outputs(
    out: str | Path,
    *,
    store: DatasetStore | str | None = None,
    packaging: bool | Literal["auto"] | None = None,
    individual_files: bool | None = None,
    max_package_bytes: int | None = None,
) -> list[DatasetVersion]:
    """Package, upload and commit the versions that the outputs' metadata declares.

    In a flow the work is spread over task runs, one per part of a version (about a GiB); in a task
    or outside a run it is done right here. From an async flow, call it by
    `await asyncio.to_thread(publish_outputs, out)`, so that its event loop goes on meanwhile.

    Args:
        out: Folder of the outputs; where tasks run on several machines, one they share.
        store: A block, the name of a saved one, or a URL; left out, the default store.
        packaging: Whether versions are packaged, whatever their metadata and the environment say;
            "auto" decides by number and size of the files.
        individual_files: Whether each file is also stored as an object of its own.
        max_package_bytes: Most content bytes in one package.

    Returns:
        The versions, ordered by URI.

    Raises:
        InvalidInputError: Metadata or file names are wrong; all faults are listed, nothing is
            uploaded.
        AlreadyPublishedError: A version exists with other files.
    """
    block = choose_store(store)
    policy = block.policy(
        packaging=packaging,
        individual_files=individual_files,
        max_package_bytes=max_package_bytes,
    )
    plan = engine.plan_directory(Path(out), store=block.open(), policy=policy)
    return publish_plan(plan, block)


def publish_plan(plan: Plan, block: DatasetStore) -> list[DatasetVersion]:
    """Publish what was planned, by task runs where the caller is in a flow.

    Returns, or raises, when no task runs any more, so that the outputs can be removed.

    Raises:
        DatasetError: It failed for good; versions that were complete before are committed.
    """
    store = block.open()
    with progress_of_task() as progress:
        _start(plan, progress)
        engine.begin(plan, store=store, provenance=provenance(), progress=progress)
        done: list[Part] = []
        committed: list[DatasetVersion] = []
        for version in plan.versions:
            # Files that an earlier version of this plan stored are not stored twice.
            planned = engine.reuse(version, done, store=store)
            parts = _store_parts(planned.parts, block, progress)
            done.extend(parts)
            committed.append(_commit(planned, parts, block))
        loose = _store_parts(plan.loose, block, progress)
        engine.commit_loose(plan, loose, store=store)
    return committed


def publish_version(version: VersionPlan, block: DatasetStore) -> DatasetVersion:
    """Publish one version whose plan needs no beginning, such as packages made later."""
    with progress_of_task() as progress:
        progress.start("publishing", n_files=version.n_files, n_bytes=version.n_bytes)
        return _commit(version, _store_parts(version.parts, block, progress), block)


class PublishOptions(BaseModel):
    """What else can be said of a new version; a form in the Prefect UI."""

    model_config = ConfigDict(frozen=True)

    base: str = Field(
        default="",
        title="Made from",
        description="A version or alias whose files the new one inherits: dataset://NAME/VERSION.",
    )
    exclude: list[str] = Field(
        default_factory=list[str],
        title="Leave out",
        description="Paths or patterns of inherited files that the new version does not have.",
    )
    aliases: list[str] = Field(
        default_factory=list[str],
        title="Aliases",
        description="Names in the dataset to move to the new version when it is there.",
    )
    packaging: Literal["store", "on", "off", "auto"] = Field(
        default="store",
        title="Packaging",
        description="Whether the version gets packages; 'store' leaves it to the store's settings.",
    )


@flow(name="publish-directory", flow_run_name="publish {directory}")
def publish_directory(
    store: DatasetStore,
    directory: str,
    dataset: str = "",
    version: str = "{scheduled:%Y-%m-%d}",
    options: PublishOptions = PublishOptions(),  # noqa: B008 - frozen
) -> list[DatasetVersion]:
    """Publish a directory of the machine that runs this as a dataset version.

    Args:
        store: Where to publish.
        directory: The directory; all its files become members of the version.
        dataset: Name of the dataset. Empty: the metadata in the directory says which versions to
            make, and the version and the options but packaging are not used.
        version: Name of the version. {scheduled:%Y-%m-%d} is the day the run was due.
        options: What else can be said of the version.
    """
    plan = engine.plan_directory(
        Path(directory).expanduser(),
        store=store.open(),
        to=[_declaration(dataset, version, options)] if dataset else None,
        policy=store.policy(packaging=_PACKAGING[options.packaging]),
    )
    if not plan.versions:
        raise InvalidInputError(
            "Nothing says which dataset version to make",
            subject=directory,
            hint="Name a dataset, or declare the version in the directory's metadata.",
        )
    return publish_plan(plan, store)


def _declaration(dataset: str, version: str, options: PublishOptions) -> VersionDeclaration:
    uri = DatasetUri.parse(fill(f"dataset://{dataset}/{version}"))
    check_new_version_name(uri)
    return VersionDeclaration(
        uri=uri,
        base=parse_base(fill(options.base), uri) if options.base else None,
        exclude=tuple(options.exclude),
        aliases=tuple(options.aliases),
    )


def _start(plan: Plan, progress: Progress) -> None:
    parts = [*(part for version in plan.versions for part in version.parts), *plan.loose]
    n_files, n_bytes = _size(parts)
    progress.start("publishing", n_files=n_files, n_bytes=n_bytes)


def _commit(version: VersionPlan, parts: Sequence[Part], block: DatasetStore) -> DatasetVersion:
    if _can_submit():
        return commit_version(unseen(version), unseen(parts), store=block)
    return commit_version.fn(version, parts, store=block)


def _store_parts(parts: Sequence[PartPlan], block: DatasetStore, progress: Progress) -> list[Part]:
    """Store parts, by one task run for each or for a few of them; return them in their order."""
    jobs = batches(parts, most=MAX_TASK_RUNS)
    shares = [_share(job, progress) for job in jobs]
    with shared(shares) as names:
        work = zip(jobs, names, strict=True)
        if not _can_submit():
            stored = [_store_here(job, block, name) for job, name in work]
        else:
            futures = [_submit(job, block, name) for job, name in work]
            _wait(futures, shares)
            stored = [future.result() for future in futures]
    return [part for job in stored for part in job]


def _submit(job: Sequence[PartPlan], block: DatasetStore, share: str) -> PrefectFuture[list[Part]]:
    task = package_version if job[0].is_packaged else upload_files
    # Prefect's overloads for tasks that take anything are not fully typed.
    return task.submit(unseen(job), store=block, share=share)  # pyright: ignore[reportUnknownMemberType]


def _store_here(job: Sequence[PartPlan], block: DatasetStore, share: str) -> list[Part]:
    task = package_version if job[0].is_packaged else upload_files
    return task.fn(job, store=block, share=share)


def _wait(futures: list[PrefectFuture[list[Part]]], shares: Sequence[Share]) -> None:
    """Wait for all, also where one failed: nobody reads the outputs any more after that."""
    of = dict(zip(futures, shares, strict=True))
    for future in as_completed(futures):
        if future.state.is_completed():
            of[future].finish()


def batches(parts: Sequence[PartPlan], *, most: int) -> list[Sequence[PartPlan]]:
    """Group neighbouring parts into at most `most` batches of the same length, the last less."""
    length = max(-(-len(parts) // most), 1)
    return [parts[low : low + length] for low in range(0, len(parts), length)]


def _share(job: Sequence[PartPlan], progress: Progress) -> Share:
    n_files, n_bytes = _size(job)
    return Share(progress, n_files=n_files, n_bytes=n_bytes)


def _size(parts: Sequence[PartPlan]) -> tuple[int, int]:
    return sum(part.n_files for part in parts), sum(part.n_bytes for part in parts)


def _can_submit() -> bool:
    run = current_run()
    return run is not None and run.can_submit
