"""Look whether a version is whole: `verify_version` as a deployment."""

from typing import Annotated, Literal

from prefect import flow

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.errors import IntegrityError
from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import verify as engine
from prefect_datasets.core.versions.verify import Fault, Report
from prefect_datasets.flows.forms import VersionUri, described, titled
from prefect_datasets.flows.templates import fill
from prefect_datasets.tasks import artifacts
from prefect_datasets.tasks.events import announce_failed_verification
from prefect_datasets.tasks.progress import progress_of_task
from prefect_datasets.tasks.run import Run, current_run

_MOST_ROWS = 1_000


@described
@flow(name="verify-version", flow_run_name="verify {uri}")
def verify_version(
    store: Annotated[DatasetStore, titled("Store")],
    uri: Annotated[VersionUri, titled("Version")],
    depth: Annotated[Literal["quick", "deep"], titled("Depth")] = "quick",
    repair: Annotated[bool, titled("Repair")] = False,  # noqa: FBT002 - a form
) -> Report:
    """Check a version; the run fails if anything is wrong that was not repaired.

    Args:
        store: Where the version is.
        uri: The version or an alias, dataset://NAME/VERSION.
        depth: quick looks whether every object is there with the right size; deep reads every byte
            of both copies and compares them with the version's digests.
        repair: Write a damaged copy anew from the good one.
    """
    run = current_run()
    assert run is not None, "a flow run"
    deep = depth == "deep"
    with progress_of_task() as progress:
        report = engine.verify(
            DatasetUri.parse(fill(uri)),
            store=store.open(),
            deep=deep,
            repair=repair,
            progress=progress,
        )
    announce_failed_verification(report, deep=deep)
    _show(run, report)
    if report.faults and not report.is_whole:
        raise _error(report, deep=deep, repaired=repair)
    n_faults, read = count(len(report.faults), "fault"), format_bytes(report.n_bytes)
    found = f"{n_faults}, repaired" if report.faults else "whole"
    looked = f"{read} read" if deep else "sizes only"
    run.logger.info("%s: %s (%s, %s)", report.uri, found, count(report.n_files, "file"), looked)
    return report


def _error(report: Report, *, deep: bool, repaired: bool) -> IntegrityError:
    first = report.faults[0]
    more = f" and {len(report.faults) - 1:,} more" if len(report.faults) > 1 else ""
    if repaired:
        hint = "There is no good copy of it: publish the files as a new version."
    elif deep:
        hint = "Run this again with repair, which writes it anew from the other copy."
    else:
        hint = "Run this again with repair, or deep to read every byte."
    where = f"{first.path} in {first.key}" if first.path else first.key
    return IntegrityError(
        f"{report.uri} is damaged: {first.problem}", subject=f"{where}{more}", hint=hint
    )


def _show(run: Run, report: Report) -> None:
    if not report.faults:
        return
    repaired = set(report.repaired)
    artifacts.create_table(
        run,
        key="faults",
        rows=[_row(fault, repaired) for fault in report.faults[:_MOST_ROWS]],
        description=f"{report.uri}: {count(len(report.faults), 'fault')}",
    )


def _row(fault: Fault, repaired: set[str]) -> dict[str, artifacts.Cell]:
    return {
        "object": fault.key,
        "file": fault.path,
        "problem": fault.problem,
        "now": "repaired" if fault.key in repaired else "damaged",
    }
