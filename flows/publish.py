"""Publish outputs as dataset versions, from a flow or anywhere else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from prefect import Task
from prefect.futures import PrefectFuture, as_completed
from prefect.utilities.annotations import quote

from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core import publish as engine
from prefect_datasets.core.catalog import DatasetVersion
from prefect_datasets.core.plan_publish import Plan, VersionPlan
from prefect_datasets.core.plan_version import PartPlan
from prefect_datasets.core.progress import Progress
from prefect_datasets.core.record import Part
from prefect_datasets.tasks.commit import commit_version
from prefect_datasets.tasks.package import package_version
from prefect_datasets.tasks.progress import Share, progress_of_task, shared
from prefect_datasets.tasks.provenance import provenance
from prefect_datasets.tasks.run import current_run
from prefect_datasets.tasks.upload import upload_files

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


def _start(plan: Plan, progress: Progress) -> None:
    parts = [*(part for version in plan.versions for part in version.parts), *plan.loose]
    n_files, n_bytes = _size(parts)
    progress.start("publishing", n_files=n_files, n_bytes=n_bytes)


def _commit(version: VersionPlan, parts: Sequence[Part], block: DatasetStore) -> DatasetVersion:
    if _can_submit():
        return commit_version(quote(version), quote(parts), store=block)
    return commit_version.fn(version, parts, store=block)


def _store_parts(parts: Sequence[PartPlan], block: DatasetStore, progress: Progress) -> list[Part]:
    """Store parts, by one task run for each or for a few of them; return them in their order."""
    jobs = batches(parts, most=MAX_TASK_RUNS)
    shares = [_share(job, progress) for job in jobs]
    with shared(shares) as names:
        work = zip(jobs, names, strict=True)
        if not _can_submit():
            stored = [_task(job).fn(job, store=block, share=name) for job, name in work]
        else:
            futures = [_submit(job, block, name) for job, name in work]
            _wait(futures, shares)
            stored = [future.result() for future in futures]
    return [part for job in stored for part in job]


def _submit(job: Sequence[PartPlan], block: DatasetStore, share: str) -> PrefectFuture[list[Part]]:
    return _task(job).submit(quote(job), store=block, share=share)


def _task(job: Sequence[PartPlan]) -> Task[..., list[Part]]:
    return package_version if job[0].is_packaged else upload_files


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
