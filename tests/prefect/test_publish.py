"""Publishing from flows: what is made, what is shown, what is tried again."""

from __future__ import annotations

import asyncio
import json
import pickle
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.task_runners import ProcessPoolTaskRunner

from prefect_datasets import (
    DatasetStore,
    DatasetVersion,
    outputs,
    publish_outputs,
    write_metadata,
)
from prefect_datasets.core.errors import (
    AlreadyPublishedError,
    InvalidMetadataError,
    StoreError,
)
from prefect_datasets.core.publish.plan import plan_directory
from prefect_datasets.core.publish.publish import publish_part
from prefect_datasets.core.store import open_store
from prefect_datasets.flows import spread
from prefect_datasets.tasks import package as package_module
from prefect_datasets.tasks import parts as parts_module
from tests.prefect import observe

if TYPE_CHECKING:
    from collections.abc import Callable


def draw_images(out: Path, *, n_files: int = 4) -> None:
    """Write some files in two folders."""
    for number in range(n_files):
        file = out / ("cats", "dogs")[number % 2] / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes([number % 256]) * (100 + number))


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store of the test's own."""
    return str(tmp_path / "store")


# A flow as a user writes one, with what the tests want to vary.
@flow
def prepare(version: str, store: Any, n_files: int = 4, **options: Any) -> tuple[str, list[Any]]:
    with outputs() as out:
        draw_images(out, n_files=n_files)
        write_metadata(out, f"dataset://my-images/{version}", packaging=True)
        return flow_run.id, publish_outputs(out, store=store, **options)


def test_a_flow_publishes_a_packaged_version(store: str) -> None:
    _, (version,) = prepare("train-v1", store)
    assert isinstance(version, DatasetVersion)
    assert (version.uri, version.n_files, version.n_bytes) == (
        "dataset://my-images/train-v1",
        4,
        406,
    )
    (package,) = version.packages
    with zipfile.ZipFile(Path(store) / package.key) as archive:
        assert archive.namelist() == ["cats/0.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/3.jpg"]


def test_each_part_is_a_task_run_and_the_order_does_not_matter(store: str) -> None:
    run, (version,) = prepare("v1", store, max_package_bytes=210)
    assert len(version.packages) == 2

    expected = {
        "declare dataset://my-images/v1",
        "package dataset://my-images/v1 1/2",
        "package dataset://my-images/v1 2/2",
        "commit dataset://my-images/v1",
    }
    # A task run has a name of Prefect's own until its first events were taken in.
    assert observe.eventually(
        lambda: {each.name for each in observe.task_runs(UUID(run))} == expected
    )


def test_the_log_has_the_three_lines_of_each_package(store: str) -> None:
    run, (version,) = prepare("train-v1", store)
    (package,) = version.packages

    def lines() -> list[str] | None:
        found = [line for line in observe.logs(UUID(run)) if line.startswith("(dataset")]
        return found if len(found) == 3 else None

    size = f"{package.n_bytes} B"
    first, second, third = observe.eventually(lines)
    said = "(dataset version package 1/1)"
    assert first.startswith(f"{said} uploading my-images.train-v1.vhpkgzip (")
    assert size in first or "kB" in first
    assert second.startswith(f"{said} uploading to file bucket")
    assert third == f"{said} upload complete (datum {package.datum})"


def test_the_ui_shows_a_summary_and_a_table_of_packages(store: str) -> None:
    run, (version,) = prepare("train-v1", store, max_package_bytes=210)
    summary = observe.artifact(UUID(run), kind="markdown")
    table = observe.artifact(UUID(run), kind="table")
    assert summary is not None
    assert table is not None
    assert summary.key == "dataset-my-images"
    assert summary.description == "dataset://my-images/train-v1: 4 files, 406 B"
    for part in (version.uri, version.digest, "resolve_inputs", "my-images.train-v1-1.vhpkgzip"):
        assert part in str(summary.data)
    assert [row["files"] for row in observe.rows(table)] == [2, 2]
    assert [row["datum"] for row in observe.rows(table)] == [p.datum for p in version.packages]


def test_an_event_tells_of_the_version(store: str) -> None:
    _, (version,) = prepare("told", store)
    (event,) = observe.told("dataset://my-images/told", "prefect-datasets.version.created")
    assert event["payload"]["uri"] == version.uri
    assert event["payload"]["files"] == 4


def test_the_store_knows_the_run(store: str) -> None:
    run, _ = prepare("v1", store)
    (file,) = Path(store).glob("outputs/*/execution.json")
    body = json.loads(file.read_text())
    assert body["flow_run"]["id"] == run
    assert body["parameters"]["version"] == "v1"


def test_a_version_without_packages_and_files_in_no_version(store: str) -> None:
    @flow
    def writes() -> list[DatasetVersion]:
        with outputs() as out:
            draw_images(out)
            (out / "report.txt").write_text("all is well")
            write_metadata(out, "dataset://my-images/v1", files="cats/*")
            return publish_outputs(out, store=store)

    (version,) = writes()
    assert (version.n_files, version.packages) == (2, ())
    stored = {file.name for file in Path(store).glob("outputs/*/files/**/*") if file.is_file()}
    assert stored == {"0.jpg", "1.jpg", "2.jpg", "3.jpg", "report.txt"}


def test_packages_alone(store: str) -> None:
    _, (version,) = prepare("v1", store, individual_files=False)
    assert len(version.packages) == 1
    assert not list(Path(store).glob("outputs/*/files"))


def test_publishing_again_changes_nothing_and_tells_nobody(store: str) -> None:
    _, (first,) = prepare("again", store)
    run, (second,) = prepare("again", store)
    assert second == first
    assert observe.artifact(UUID(run), kind="markdown") is None


def test_other_files_under_the_same_name_fail_in_one_line(store: str) -> None:
    prepare("v1", store)
    state: State[Any] = prepare("v1", store, n_files=6, return_state=True)  # pyright: ignore[reportAssignmentType]
    assert state.message is not None
    assert "AlreadyPublishedError: The version exists with other files" in state.message
    assert "dataset://my-images/v1" in state.message
    assert "new version name" in state.message
    with pytest.raises(AlreadyPublishedError):
        state.result()


def test_faulty_metadata_is_told_whole_before_anything_is_stored(store: str) -> None:
    @flow
    def writes() -> None:
        with outputs() as out:
            draw_images(out)
            lines = ['{"file": "gone.jpg"', '{"file": "gone.jpg", "metadata": {}}']
            (out / "valohai.metadata.jsonl").write_text("\n".join(lines))
            publish_outputs(out, store=store)

    with pytest.raises(InvalidMetadataError) as caught:
        writes()
    assert len(caught.value.faults) == 2
    assert not list(Path(store).glob("**/*.jpg"))


def test_switched_off_is_said_with_the_variable(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VH_ENABLE_DATASET_VERSION_PACKAGING", "no")
    run, (version,) = prepare("v1", store)
    assert version.packages == ()
    observe.eventually(
        lambda: any(
            "VH_ENABLE_DATASET_VERSION_PACKAGING" in line for line in observe.logs(UUID(run))
        )
    )


# -- where it runs ---------------------------------------------------------------------------


def test_outside_a_flow_the_engine_is_called(store: str, tmp_path: Path) -> None:
    draw_images(tmp_path)
    (tmp_path / "home").mkdir(exist_ok=True)
    write_metadata(tmp_path, "dataset://my-images/v1", files="*/*.jpg", packaging=True)
    (version,) = publish_outputs(tmp_path, store=store + "-elsewhere")
    assert (version.n_files, len(version.packages)) == (4, 1)


def test_in_a_task_nothing_is_submitted(store: str) -> None:
    @task
    def publishes(out: Path) -> list[DatasetVersion]:
        return publish_outputs(out, store=store)

    @flow
    def writes() -> tuple[str, list[DatasetVersion]]:
        with outputs() as out:
            draw_images(out)
            write_metadata(out, "dataset://my-images/v1", packaging=True)
            return flow_run.id, publishes.submit(out).result()

    run, (version,) = writes()
    assert version.n_files == 4
    assert observe.artifact(UUID(run), kind="markdown") is not None
    observe.eventually(lambda: len(observe.task_runs(UUID(run))) == 2)


def test_an_async_flow_can_call_it_plainly_or_in_a_thread(store: str) -> None:
    @flow
    async def writes(version: str, *, in_a_thread: bool) -> list[DatasetVersion]:
        with outputs() as out:
            draw_images(out)
            write_metadata(out, f"dataset://my-images/{version}", packaging=True)
            if in_a_thread:
                return await asyncio.to_thread(publish_outputs, out, store=store)
            return publish_outputs(out, store=store)

    (plain,) = asyncio.run(writes("plain", in_a_thread=False))
    (threaded,) = asyncio.run(writes("threaded", in_a_thread=True))
    assert plain.digest == threaded.digest


@pytest.mark.slow
def test_parts_are_published_by_other_processes(store: str) -> None:
    processes: Any = ProcessPoolTaskRunner(max_workers=1)
    prepare_in_processes = prepare.with_options(task_runner=processes)
    _, (version,) = prepare_in_processes("v1", store, max_package_bytes=210)
    assert (version.n_files, len(version.packages)) == (4, 2)


# -- what is tried again ---------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], list[int]]:
    """Make the first attempt to publish a part fail; returns the attempts made."""

    def fail_with(error: Exception) -> list[int]:
        attempts: list[int] = []

        def publish_at_second(*args: Any, **options: Any) -> Any:
            attempts.append(1)
            if len(attempts) == 1:
                raise error
            return publish_part(*args, **options)

        monkeypatch.setattr(parts_module, "publish_part", publish_at_second)
        without_delay = package_module.package_version.with_options(retry_delay_seconds=0)
        monkeypatch.setattr(spread, "package_version", without_delay)
        return attempts

    return fail_with


def test_what_may_succeed_later_is_tried_again(
    store: str, failing: Callable[[Exception], list[int]]
) -> None:
    attempts = failing(StoreError("The store is tired", subject="s3://x"))
    _, (version,) = prepare("v1", store)
    assert len(attempts) == 2
    assert version.n_files == 4


def test_after_a_failure_the_rest_does_not_begin(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def fails(*_: Any, **__: Any) -> Any:
        begun.append(1)
        time.sleep(0.1)
        raise AlreadyPublishedError("It exists", subject="dataset://x/y")

    monkeypatch.setattr(parts_module, "publish_part", fails)
    with pytest.raises(AlreadyPublishedError):
        prepare("v1", store, n_files=40, max_package_bytes=1)
    assert len(begun) < 40


def test_a_part_travels_without_the_others(tmp_path: Path) -> None:
    draw_images(tmp_path, n_files=1000)
    whole, *_ = plan_directory(tmp_path, store=open_store("memory://")).loose
    part = replace(whole, rows=whole.rows.slice(10, 2))
    sent = pickle.dumps(part)
    assert pickle.loads(sent) == part
    assert len(sent) < len(pickle.dumps(whole)) / 10


def test_what_can_not_succeed_is_not_tried_again(
    store: str, failing: Callable[[Exception], list[int]]
) -> None:
    attempts = failing(AlreadyPublishedError("It exists", subject="dataset://x/y"))
    with pytest.raises(AlreadyPublishedError):
        prepare("v1", store)
    assert len(attempts) == 1


# -- the outputs -----------------------------------------------------------------------------


def test_outputs_of_a_step_are_the_folder_that_is_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As valohai-utils has it; it stays, with what lay there before."""
    monkeypatch.setenv("VH_OUTPUTS_DIR", str(tmp_path / "of the step"))

    @flow
    def writes(name: str) -> Path:
        with outputs() as out:
            (out / name).touch()
        return out

    assert {writes("a"), writes("b")} == {tmp_path / "of the step"}
    assert sorted(file.name for file in (tmp_path / "of the step").iterdir()) == ["a", "b"]
    with outputs(tmp_path / "mine") as out:
        assert out.parent == tmp_path / "mine", "whoever names a folder means that one"


def test_outputs_are_removed_after_success_and_kept_after_failure(home: Path) -> None:
    @flow(retries=1)
    def fails_once() -> Path:
        with outputs() as out:
            assert not list(out.iterdir())
            (out / "file").write_text("work")
            if flow_run.run_count == 1:
                raise OSError("a bad day")
            assert len(list(out.parent.iterdir())) == 2
            return out

    out = fails_once()
    assert not out.exists()
    assert list((home / "datasets" / "runs").iterdir()) == []


def test_a_failure_says_where_the_outputs_are(home: Path) -> None:
    ids: list[str] = []

    @flow
    def fails() -> None:
        ids.append(flow_run.id)
        with outputs() as out:
            (out / "file").write_text("work")
            raise OSError("a bad day")

    with pytest.raises(OSError, match="bad day"):
        fails()
    (kept,) = (home / "datasets" / "runs").glob("*/*/file")
    observe.eventually(
        lambda: f"The outputs are kept in {kept.parent}" in observe.logs(UUID(ids[0]))
    )


def test_outputs_work_outside_a_flow_too(tmp_path: Path) -> None:
    with outputs(tmp_path / "elsewhere") as out:
        assert out.parent == tmp_path / "elsewhere"
    assert not out.exists()


def test_a_saved_block_is_named_in_the_summary(tmp_path: Path) -> None:
    DatasetStore(url=str(tmp_path / "mine")).save("team")
    run, _ = prepare("v1", "team")
    summary = observe.artifact(UUID(run), kind="markdown")
    assert summary is not None
    assert 'store="team"' in str(summary.data)


@pytest.mark.parametrize(
    ("n_parts", "lengths"), [(0, []), (1, [1]), (3, [1, 1, 1]), (7, [3, 3, 1])]
)
def test_there_are_never_too_many_task_runs(n_parts: int, lengths: list[int]) -> None:
    found = spread.batches(range(n_parts), most=3)  # pyright: ignore[reportArgumentType]
    assert [len(batch) for batch in found] == lengths
