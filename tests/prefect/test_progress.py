"""Progress: counting, lines in the log, the artifact, and an API that is gone."""

from __future__ import annotations

import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest
from prefect import flow
from prefect.runtime import flow_run

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.progress import NoProgress
from prefect_datasets.tasks import artifacts, progress
from prefect_datasets.tasks.progress import Gauge, RunProgress, Share, progress_of_task, shared
from prefect_datasets.tasks.run import Run
from tests.prefect import observe

if TYPE_CHECKING:
    from collections.abc import Iterator


class Counted(NoProgress):
    """Remembers what was counted."""

    def __init__(self) -> None:
        self.done = (0, 0)

    def advance(self, *, n_files: int, n_bytes: int) -> None:
        self.done = (self.done[0] + n_files, self.done[1] + n_bytes)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates twenty times a second."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 0.05)


@pytest.fixture
def own_log() -> Iterator[tuple[Run, list[str]]]:
    """A run whose log is a list."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("tests.progress")
    logger.setLevel(logging.INFO)
    handler = Keep()
    logger.addHandler(handler)
    yield Run(logger, None, None), lines
    logger.removeHandler(handler)


def test_a_gauge_counts_bytes_and_where_there_are_none_files() -> None:
    gauge = Gauge()
    assert gauge.fraction == 0
    gauge.begin("fetching", 10, 1000)
    gauge.add(1, 500)
    assert gauge.fraction == 0.5
    gauge.begin("linking", 10, 0)
    gauge.add(1, 0)
    assert gauge.fraction == 0.1
    assert gauge.describe().startswith("linking: 1 of 10 files, 0 B of 0 B, ")


def test_what_matters_is_among_the_first_characters() -> None:
    gauge = Gauge()
    gauge.begin("publishing dataset://sensor-data/2026-11-22", 1_000_000, 100 * 10**9)
    gauge.add(620_000, 62 * 10**9)
    assert re.match(r"62%, 62 GB, [\d.]+ \wB/s;", gauge.describe_shortly_first()[:30])
    gauge.begin("linking", 10, 0)
    gauge.add(1, 0)
    assert gauge.describe_shortly_first() == "10%, 1 of 10 files: linking"


def test_a_gauge_never_leaves_its_scale() -> None:
    gauge = Gauge()
    gauge.begin("fetching", 1, 10)
    gauge.add(2, 20)
    assert gauge.fraction == 1
    gauge.add(-4, -40)
    assert gauge.fraction == 0


def test_many_threads_lose_nothing() -> None:
    gauge = Gauge()
    gauge.begin("fetching", 8000, 8000)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(lambda: [gauge.add(1, 1) for _ in range(1000)])
    assert (gauge.files_done, gauge.bytes_done) == (8000, 8000)


def test_lines_come_at_most_about_every_tenth(quick: None, own_log: tuple[Run, list[str]]) -> None:
    run, lines = own_log
    told = RunProgress(run, shows_artifact=False)
    told.start("fetching", n_files=1000, n_bytes=1000)
    for _ in range(1000):
        told.advance(n_files=1, n_bytes=1)
        time.sleep(0.0006)
    assert 2 <= len(lines) <= 10


def test_quick_work_says_nothing(own_log: tuple[Run, list[str]]) -> None:
    run, lines = own_log
    told = RunProgress(run, shows_artifact=False)
    told.start("fetching", n_files=10, n_bytes=10)
    told.advance(n_files=10, n_bytes=10)
    assert lines == []


def test_notes_and_warnings_are_lines(own_log: tuple[Run, list[str]]) -> None:
    run, lines = own_log
    told = RunProgress(run, shows_artifact=False)
    told.note("a package")
    told.warn("look here")
    assert lines == ["a package", "look here"]


def test_a_share_begins_anew_when_it_is_tried_again() -> None:
    whole = Counted()
    share = Share(whole, n_files=4, n_bytes=400)
    share.advance(n_files=3, n_bytes=300)
    share.restart()
    share.advance(n_files=1, n_bytes=100)
    assert whole.done == (1, 100)


def test_a_share_counts_itself_whole_wherever_it_was_done() -> None:
    whole = Counted()
    here, elsewhere = (Share(whole, n_files=4, n_bytes=400) for _ in range(2))
    here.advance(n_files=5, n_bytes=500)
    assert whole.done == (4, 400)
    here.finish()
    elsewhere.finish()
    assert whole.done == (8, 800)


def test_names_lead_to_shares_only_while_they_are_shared(own_log: tuple[Run, list[str]]) -> None:
    whole = Counted()

    @flow
    def works(name: str) -> None:
        with progress_of_task(name) as here:
            here.advance(n_files=1, n_bytes=1)

    with shared([Share(whole, n_files=2, n_bytes=2)]) as (name,):
        works(name)
    works(name)
    assert whole.done == (1, 1)


def test_an_artifact_moves_while_it_lasts(quick: None) -> None:
    seen: list[Any] = []

    @flow
    def works() -> str:
        with progress_of_task() as here:
            here.start("fetching", n_files=2, n_bytes=200)
            here.advance(n_files=1, n_bytes=100)
            run = UUID(flow_run.id)
            seen.append(observe.eventually(lambda: observe.artifact(run, kind="progress")))
            here.advance(n_files=1, n_bytes=100)
        return flow_run.id

    run = UUID(works())
    shown = [each for each in observe.artifacts(run) if each.type == "progress"]
    assert [each.data for each in shown] == [100]
    assert str(shown[0].description).startswith("100%, 200 B, ")
    assert str(shown[0].description).endswith("/s; 2 of 2 files, 200 B in all: fetching")


def test_long_work_is_shown_less_often_after_a_while(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_UPDATES_BEFORE", 2)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LATER_UPDATES", 3600)
    moved: list[float] = []
    often_enough = threading.Event()
    update = artifacts.update_progress

    def counted(client: Any, artifact: UUID, *, percent: float, description: str) -> None:
        update(client, artifact, percent=percent, description=description)
        moved.append(percent)
        if len(moved) == 2:
            often_enough.set()

    monkeypatch.setattr(artifacts, "update_progress", counted)

    @flow
    def works() -> None:
        with progress_of_task() as here:
            here.start("fetching", n_files=2, n_bytes=200)
            here.advance(n_files=1, n_bytes=100)
            assert often_enough.wait(60)
            here.advance(n_files=1, n_bytes=100)

    works()
    assert moved == [50, 50, 100]


def test_work_that_takes_a_moment_leaves_no_artifact() -> None:
    @flow
    def works() -> str:
        with progress_of_task() as here:
            here.start("fetching", n_files=2, n_bytes=200)
            here.advance(n_files=2, n_bytes=200)
        return flow_run.id

    assert observe.artifacts(UUID(works())) == []


def test_an_api_that_is_gone_costs_one_line(
    quick: None, own_log: tuple[Run, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = threading.Event()
    calls: list[int] = []

    def refused(*_: object, **__: object) -> UUID:
        calls.append(1)
        if len(calls) == 3:
            called.set()
        raise ConnectionError("refused")

    monkeypatch.setattr(artifacts, "create_progress", refused)
    run, lines = own_log
    with RunProgress(run) as here:
        here.start("fetching", n_files=1, n_bytes=1)
        assert called.wait(10)
    assert [line for line in lines if "does not answer" in line] == lines
    assert len(lines) == 1


def test_outside_a_run_what_is_said_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with progress_of_task() as here:
        here.start("fetching", n_files=1, n_bytes=1)
        here.advance(n_files=1, n_bytes=1)
        here.warn("look here")
    assert caplog.messages == ["look here"]


def test_a_share_that_is_given_up_does_not_begin() -> None:
    share = Share(Counted(), n_files=1, n_bytes=1)
    share.give_up()
    with pytest.raises(DatasetError, match="another part"):
        share.restart()


def test_an_api_that_does_not_answer_is_not_asked_at_once_again(
    own_log: tuple[Run, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_silent_until", 0.0)
    run, lines = own_log
    asked: list[int] = []

    def nobody_answers() -> None:
        asked.append(1)
        raise httpx.ConnectError("refused")

    for _ in range(3):
        artifacts.unless_the_api_is_gone(run.logger, "No summary", nobody_answers)
    assert len(asked) == 1
    assert lines == ["No summary (ConnectError: refused)"]
