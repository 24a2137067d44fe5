"""Recurring versions by real flow runs, with the times that a real server gives them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.schedules import CronSchedule
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format import parts
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.publish.publish import publish_directory
from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog, deletion
from prefect_datasets.core.versions.aliases import list_aliases
from prefect_datasets.core.versions.recurring import versions_of
from prefect_datasets.flows.recurring import RecurringOptions, publish_recurring
from prefect_datasets.flows.retention import RetentionOptions, retain_versions
from tests.prefect import observe

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from prefect_datasets.core.format.record import VersionRecord
    from tests.servers.process import Served

# Nothing may be due later than now: a run waits for that.
DUE = datetime(2026, 3, 20, 1, tzinfo=UTC)
NIGHTLY = RecurringOptions(aliases=["nightly"])


@pytest.fixture
def block(tmp_path: Path) -> DatasetStore:
    return DatasetStore(url=str(tmp_path / "store"), packaging="on")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.csv").write_text("1")
    return folder


def run_at(due: datetime, *parameters: Any, **more: Any) -> tuple[UUID, Any]:
    """Run the flow as a worker runs one that was due at some time."""
    names = ("store", "source", "dataset", "version", "options")
    given = {**dict(zip(names, parameters, strict=False)), **more}
    with get_client(sync_client=True) as client:
        state = Scheduled(scheduled_time=due)
        run = client.create_flow_run(publish_recurring, parameters=given, state=state)
    return run.id, run_flow(publish_recurring, flow_run=run, parameters=given)


def night(block: DatasetStore, source: Path, number: int, **more: Any) -> Any:
    due = DUE + timedelta(days=number)
    return run_at(due, block, str(source), "x", options=NIGHTLY, **more)[1]


def names(block: DatasetStore, dataset: str = "x") -> list[str]:
    return [each.version for each in versions_of(block.open(), dataset)]


def record(block: DatasetStore, version: str) -> VersionRecord:
    return catalog.find(block.open(), DatasetUri("x", version))


def paths(block: DatasetStore, version: str) -> list[str]:
    return parts.read_rows(block.open(), record(block, version))["path"].to_pylist()


# -- schedules of a real server --------------------------------------------------------------------


@contextmanager
def scheduled(
    zone: str, cron: str, first: datetime, last: datetime, **parameters: Any
) -> Generator[list[FlowRun]]:
    """Deploy the flow with a schedule; give the runs that the server makes between two times."""
    with get_client(sync_client=True) as client:
        schedule = CronSchedule(cron=cron, timezone=zone)
        deployment = client.create_deployment(
            flow_id=client.create_flow(publish_recurring),
            name=f"nightly-{uuid4().hex[:8]}",
            parameters=parameters,
            schedules=[DeploymentScheduleCreate(schedule=schedule, active=True)],
        )
        path = {"id": deployment}
        times = {"start_time": first.isoformat(), "end_time": last.isoformat()}
        client.request("POST", "/deployments/{id}/schedule", path_params=path, json=times)
        mine = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
        yield client.read_flow_runs(flow_run_filter=mine)
        client.delete_deployment(deployment)  # and its runs


@pytest.mark.parametrize(
    ("zone", "cron", "first", "expected"),
    [
        # The night of the 29th has no 2:30 in Berlin ...
        ("Europe/Berlin", "30 2 * * *", datetime(2026, 3, 27, 12, tzinfo=UTC), ["28", "29", "30"]),
        # ... and that of the 26th of October has two.
        ("Europe/Berlin", "30 2 * * *", datetime(2025, 10, 25, tzinfo=UTC), ["25", "26", "27"]),
        # A day ahead of UTC at the time of the run.
        ("Pacific/Auckland", "0 1 * * *", datetime(2026, 4, 3, 15, tzinfo=UTC), ["05", "06", "07"]),
    ],
)
def test_a_schedule_over_the_turn_of_the_clocks_makes_each_night_once(
    block: DatasetStore,
    source: Path,
    zone: str,
    cron: str,
    first: datetime,
    expected: Sequence[str],
) -> None:
    given = {
        "source": str(source),
        "dataset": "x",
        "version": f"{{scheduled@{zone}:%d}}",
        "options": {"aliases": ["nightly"]},
    }
    with scheduled(zone, cron, first, first + timedelta(days=3), **given) as runs:
        given = {**given, "store": block, "options": NIGHTLY}
        first_run, *others = sorted(runs, key=lambda run: str(run.id))  # in any order
        for run in (first_run, *others, first_run):
            run_flow(publish_recurring, flow_run=run, parameters=given)
    assert names(block) == list(expected)
    assert list_aliases(block.open(), "x").targets == {"nightly": expected[-1]}


# -- who wins --------------------------------------------------------------------------------------


def test_two_runs_of_a_night_at_once_make_one_version(block: DatasetStore, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
        (folder / "a.csv").write_text(folder.name * 1000)
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda folder: night(block, folder, 0), folders))
    assert made[0] == made[1] == made[2]
    assert names(block) == ["2026-03-20"]
    assert list_aliases(block.open(), "x").targets == {"nightly": "2026-03-20"}


def test_a_night_that_is_made_up_for_by_hand(block: DatasetStore, source: Path) -> None:
    night(block, source, 0)
    (source / "a.csv").write_text("2")
    night(block, source, 2)
    made_up = RecurringOptions(aliases=["nightly"], due="2026-03-21")
    (source / "b.csv").write_text("b")
    _, made = run_at(datetime.now(UTC), block, str(source), "x", options=made_up)
    assert (made.uri, made.parent) == ("dataset://x/2026-03-21", "dataset://x/2026-03-20")
    assert list_aliases(block.open(), "x").targets == {"nightly": "2026-03-22"}
    assert names(block) == ["2026-03-20", "2026-03-21", "2026-03-22"]


def test_a_version_made_by_hand_is_gone_on_from(block: DatasetStore, source: Path) -> None:
    declared = VersionDeclaration(DatasetUri("x", "seed"), packaging=True)
    publish_directory(source, store=block.open(), to=[declared])
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    options = RecurringOptions(due=tomorrow)
    _, made = run_at(DUE, block, str(source), "x", options=options)
    assert made.parent == "dataset://x/seed"


def test_a_deleted_night_is_not_made_again(block: DatasetStore, source: Path) -> None:
    night(block, source, 0)
    store = block.open()
    deletion.delete(store, deletion.plan_delete(store, DatasetUri("x", "2026-03-20")))
    (source / "a.csv").write_text("other")
    run, made = run_at(DUE, block, str(source), "x")
    assert (made, names(block)) == (None, [])
    told = "dataset://x/2026-03-20 was made and deleted: it is not made again"
    assert observe.eventually(lambda: told in observe.logs(run))


# -- what a version holds --------------------------------------------------------------------------


def test_the_source_is_that_of_the_day_it_was_due(block: DatasetStore, tmp_path: Path) -> None:
    for day in (20, 21):
        folder = tmp_path / "sources" / f"2026-03-{day}"
        folder.mkdir(parents=True)
        (folder / f"{day}.csv").write_text(str(day))
    template = str(tmp_path / "sources" / "{scheduled:%Y-%m-%d}")
    for number in (1, 0):
        run_at(DUE + timedelta(days=number), block, template, "x")
    assert (paths(block, "2026-03-20"), paths(block, "2026-03-21")) == (["20.csv"], ["21.csv"])


def test_a_source_that_holds_all_files(block: DatasetStore, source: Path) -> None:
    (source / "b.csv").write_text("b")
    night(block, source, 0)
    (source / "a.csv").unlink()
    all_files = RecurringOptions(contents="all files")
    run_at(DUE + timedelta(days=1), block, str(source), "x", options=all_files)
    assert paths(block, "2026-03-21") == ["b.csv"]
    run_at(DUE + timedelta(days=2), block, str(source), "x", options=all_files)
    same, again = record(block, "2026-03-21"), record(block, "2026-03-22")
    assert again.parts == same.parts


@pytest.mark.parametrize("contents", ["new files", "all files"])
def test_a_prefix_of_a_store_without_changes(
    seaweedfs: Served, fresh_prefix: str, contents: str
) -> None:
    raw = f"{seaweedfs.url}/{fresh_prefix}/raw"
    for name in ("a.csv", "b/c.csv"):
        open_store(raw, seaweedfs.options).write(name, name.encode() * 100)
    block = DatasetStore(
        url=f"{seaweedfs.url}/{fresh_prefix}/store", options=seaweedfs.options, packaging="on"
    )
    options = RecurringOptions(contents=contents, aliases=["nightly"])  # type: ignore[arg-type]
    run_at(DUE, block, raw, "x", options=options)
    before = {info.key for info in block.open().list("")}
    run_at(DUE + timedelta(days=1), block, raw, "x", options=options)
    written = {info.key: info.n_bytes for info in block.open().list("") if info.key not in before}
    execution = record(block, "2026-03-21").execution
    assert sorted(written) == [
        "datasets/x/2026-03-21.json",
        f"outputs/{execution}/execution.json",
    ]
    assert sum(written.values()) < 5_000
    assert paths(block, "nightly") == ["a.csv", "b/c.csv"]


# -- bad input -------------------------------------------------------------------------------------


def test_bad_input_moves_nothing(block: DatasetStore, source: Path) -> None:
    night(block, source, 0)
    before = [info.key for info in block.open().list("")]
    with pytest.raises(InvalidInputError, match="Not a day or a time: 'someday'"):
        run_at(DUE, block, str(source), "x", options=RecurringOptions(due="someday"))
    taken = RecurringOptions(aliases=["2026-03-20"])
    with pytest.raises(InvalidInputError, match="is a version"):
        run_at(DUE + timedelta(days=1), block, str(source), "x", options=taken)
    with pytest.raises(InvalidInputError, match="no-such-folder"):
        run_at(DUE + timedelta(days=1), block, str(source / "no-such-folder"), "x")
    assert [info.key for info in block.open().list("")] == before


def test_two_hours_of_one_name_are_not_taken_for_one(block: DatasetStore, source: Path) -> None:
    hourly = "{scheduled@Europe/Berlin:%Y-%m-%dT%H}"
    first = datetime(2026, 10, 25, 0, tzinfo=UTC)
    run_at(first, block, str(source), "x", version=hourly)
    run_at(first, block, str(source), "x", version=hourly)
    with pytest.raises(InvalidInputError, match=r"clocks went back.*Add %Z"):
        run_at(first + timedelta(hours=1), block, str(source), "x", version=hourly)


# -- retention -------------------------------------------------------------------------------------


def test_retention_shows_then_does(block: DatasetStore, source: Path) -> None:
    for number in range(4):
        (source / f"{number}.csv").write_text(str(number) * 1000)
        night(block, source, number)
    before = [info.key for info in block.open().list("")]
    shown = retain_versions(block, "x", keep=2, return_state=True)
    would = shown.result()
    assert (would.is_done, list(would.deleted)) == (
        False,
        ["dataset://x/2026-03-21", "dataset://x/2026-03-20"],
    )
    assert would.n_bytes > 0
    assert [info.key for info in block.open().list("")] == before
    run = shown.state_details.flow_run_id
    assert run is not None
    table = observe.eventually(lambda: observe.artifact(run, kind="table"))
    assert [row["version"] for row in observe.rows(table)] == ["2026-03-21", "2026-03-20"]
    markdown = observe.eventually(lambda: observe.artifact(run, kind="markdown"))
    assert "no: this only shows it" in str(markdown.data)
    assert "named by latest, nightly" in str(markdown.data)

    at_once = RetentionOptions(grace_hours=0)
    done = retain_versions(block, "x", keep=2, apply=True, options=at_once)
    assert (done.is_done, done.deleted) == (True, would.deleted)
    assert done.n_freed_bytes == would.n_bytes
    assert names(block) == ["2026-03-22", "2026-03-23"]
    again = retain_versions(block, "x", keep=2, apply=True, options=at_once)
    assert (again.deleted, again.n_freed_objects) == ((), 0)
    assert observe.told("dataset://x/2026-03-20", "prefect-datasets.version.deleted")
