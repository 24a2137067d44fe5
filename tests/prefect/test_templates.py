"""Times in URIs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Scheduled

from prefect_datasets import outputs, publish_outputs, write_metadata
from prefect_datasets.core.errors import InvalidUriError
from prefect_datasets.flows.templates import fill
from prefect_datasets.tasks.run import scheduled_start

# Late in the evening of the last day on which Berlin is an hour ahead; midnight passed there.
DUE = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("dataset://x/v1", "dataset://x/v1"),
        ("dataset://x/{scheduled}", "dataset://x/2026-03-28"),
        ("dataset://x/{scheduled:%Y-%m-%d}", "dataset://x/2026-03-28"),
        ("dataset://x/{scheduled:%Y%m%dT%H%M}", "dataset://x/20260328T2330"),
        ("dataset://x/{scheduled@Europe/Berlin:%Y-%m-%d}", "dataset://x/2026-03-29"),
        ("dataset://x/{scheduled@Europe/Berlin}", "dataset://x/2026-03-29"),
        ("dataset://x-{scheduled:%Y}/{scheduled:%j}", "dataset://x-2026/087"),
    ],
)
def test_a_field_is_filled_from_the_scheduled_start(text: str, filled: str) -> None:
    assert fill(text, scheduled=lambda: DUE) == filled


@pytest.mark.parametrize(
    ("due", "hour"),
    [
        # The clocks of Berlin go forward at 1:00 UTC on the 29th of March 2026 ...
        (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), "0130"),
        (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), "0330"),
        # ... and back at 1:00 UTC on the 25th of October.
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "0230"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "0230"),
    ],
)
def test_a_time_zone_keeps_its_daylight_saving(due: datetime, hour: str) -> None:
    assert fill("{scheduled@Europe/Berlin:%H%M}", scheduled=lambda: due) == hour


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(InvalidUriError, match="Europe/Atlantis"):
        fill("dataset://x/{scheduled@Europe/Atlantis:%Y}", scheduled=lambda: DUE)


def test_without_a_field_nobody_is_asked() -> None:
    def never() -> datetime:
        raise AssertionError

    assert fill("dataset://x/v1", scheduled=never) == "dataset://x/v1"


def test_outside_a_run_it_is_now() -> None:
    before = datetime.now(UTC)
    assert before <= scheduled_start() <= datetime.now(UTC)


def run_as_scheduled(flow: Any, **parameters: Any) -> Any:
    """Run a flow as a worker runs one that was due at `DUE`."""
    from prefect.flow_engine import run_flow

    with get_client(sync_client=True) as client:
        due = Scheduled(scheduled_time=DUE)
        run = client.create_flow_run(flow, parameters=parameters, state=due)
    return run_flow(flow, flow_run=run, parameters=parameters), run.id


def test_a_late_run_and_its_retry_make_the_version_that_was_due(tmp_path: Path) -> None:
    attempts: list[int] = []

    @flow(retries=1)
    def nightly() -> str:
        with outputs() as out:
            (out / "reading.csv").write_text("1")
            write_metadata(out, "dataset://sensor-data/{scheduled:%Y-%m-%d}")
            attempts.append(1)
            if len(attempts) == 1:
                raise OSError("the night was dark")
            (version,) = publish_outputs(out, store=str(tmp_path / "store"))
            return version.uri

    uri, _ = run_as_scheduled(nightly)
    assert uri == "dataset://sensor-data/2026-03-28"
    assert len(attempts) == 2


def test_a_flow_that_another_started_is_due_when_that_one_was() -> None:
    @flow
    def child() -> str:
        return fill("dataset://x/{scheduled:%Y-%m-%d}")

    @flow
    def parent() -> str:
        return child()

    uri, run = run_as_scheduled(parent)
    assert uri == "dataset://x/2026-03-28"
    assert isinstance(run, UUID)
