"""Publishing from flows: where it runs, what is tried again, and what becomes of the outputs."""

from __future__ import annotations

import asyncio
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.runtime import flow_run
from prefect.task_runners import ProcessPoolTaskRunner

from prefect_datasets import DatasetVersion, outputs, publish_outputs, write_metadata
from prefect_datasets.core.errors import AlreadyPublishedError, StoreError
from prefect_datasets.core.publish.plan import plan_directory
from prefect_datasets.core.publish.publish import publish_part
from prefect_datasets.core.store import open_store
from prefect_datasets.flows import spread
from prefect_datasets.tasks import package as package_module
from prefect_datasets.tasks import parts as parts_module
from tests.prefect import observe

if TYPE_CHECKING:
    from collections.abc import Callable
from tests.prefect.published import draw_images, prepare


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store of the test's own."""
    return str(tmp_path / "store")


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
