"""Spread the work of a plan over the task runs of a flow; where there is no flow, do it here."""

import time
from collections.abc import Sequence
from typing import Any

from prefect.futures import PrefectFuture, as_completed

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format.record import Part
from prefect_datasets.core.progress import Progress
from prefect_datasets.core.publish import publish as engine
from prefect_datasets.core.publish.plan import Plan, VersionPlan
from prefect_datasets.core.publish.plan_version import PartPlan
from prefect_datasets.core.versions.catalog import DatasetVersion
from prefect_datasets.tasks.commit import commit_version
from prefect_datasets.tasks.package import package_version
from prefect_datasets.tasks.policy import unseen
from prefect_datasets.tasks.progress import Share, progress_of_task, shared
from prefect_datasets.tasks.provenance import provenance
from prefect_datasets.tasks.run import current_run
from prefect_datasets.tasks.upload import upload_files

# More, and a Prefect server on SQLite loses states of task runs.
MAX_TASK_RUNS = 200


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
            began = time.time()
            # Files that an earlier version of this plan stored are not stored twice.
            planned = engine.reuse(version, done, store=store)
            parts = _store_parts(planned.parts, block, progress)
            done.extend(parts)
            committed.append(_commit(planned, parts, block, began))
        loose = _store_parts(plan.loose, block, progress)
        engine.commit_loose(plan, loose, store=store)
    return committed


def publish_version(version: VersionPlan, block: DatasetStore) -> DatasetVersion:
    """Publish one version whose plan needs no beginning, such as packages made later."""
    began = time.time()
    with progress_of_task() as progress:
        progress.start("publishing", n_files=version.n_files, n_bytes=version.n_bytes)
        return _commit(version, _store_parts(version.parts, block, progress), block, began)


def _start(plan: Plan, progress: Progress) -> None:
    parts = [*(part for version in plan.versions for part in version.parts), *plan.loose]
    n_files, n_bytes = _size(parts)
    progress.start("publishing", n_files=n_files, n_bytes=n_bytes)


def _commit(
    version: VersionPlan, parts: Sequence[Part], block: DatasetStore, began: float
) -> DatasetVersion:
    if _can_submit():
        return commit_version(unseen(version), unseen(parts), store=block, began=began)
    return commit_version.fn(version, parts, store=block, began=began)


def _store_parts(parts: Sequence[PartPlan], block: DatasetStore, progress: Progress) -> list[Part]:
    """Store parts, by one task run for each or for a few of them; return them in their order."""
    jobs = batches(parts, most=MAX_TASK_RUNS)
    shares = [_share(job, progress) for job in jobs]
    with shared(shares) as names:
        work = zip(jobs, names, strict=True)
        if not _can_submit():
            stored = [_store_here(job, block, name) for job, name in work]
        else:
            stored = _wait([_submit(job, block, name) for job, name in work], shares)
    return [part for job in stored for part in job]


def _submit(job: Sequence[PartPlan], block: DatasetStore, share: str) -> PrefectFuture[list[Part]]:
    task = package_version if job[0].is_packaged else upload_files
    # Prefect's overloads for tasks that take anything are not fully typed.
    return task.submit(unseen(job), store=block, share=share)  # pyright: ignore[reportUnknownMemberType]


def _store_here(job: Sequence[PartPlan], block: DatasetStore, share: str) -> list[Part]:
    task = package_version if job[0].is_packaged else upload_files
    return task.fn(job, store=block, share=share)


def _wait(
    futures: Sequence[PrefectFuture[list[Part]]], shares: Sequence[Share]
) -> list[list[Part]]:
    """Wait for all, also where one failed: nobody reads the outputs any more after that.

    After a failure, what has not begun in this process never does.

    Returns:
        What the tasks returned, in the order of `futures`.

    Raises:
        DatasetError: What failed first.
    """
    share_of = dict(zip(futures, shares, strict=True))
    results: dict[PrefectFuture[list[Part]], list[Part]] = {}
    error: BaseException | None = None
    for future in as_completed(list(futures)):
        # Not `future.state`: that asks the API, which may be gone.
        result: Any = future.result(raise_on_failure=False)
        if not isinstance(result, BaseException):
            results[future] = result
            share_of[future].finish()
        elif error is None:
            error = result
            for share in shares:
                share.give_up()
    if error is not None:
        raise error
    return [results[future] for future in futures]


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
