"""When a version was due: as a person writes it, and on clocks that go back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.flows.due import (
    fill_for,
    is_before_its_day,
    is_repeated,
    read_due,
    repeats,
)

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "name", "due"),
    [
        ("2026-11-22", "{scheduled}", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T01:30", "v-{scheduled:%d}", datetime(2026, 11, 22, 1, 30, tzinfo=UTC)),
        ("2026-11-22", "{scheduled@Europe/Berlin}", datetime(2026, 11, 22, tzinfo=BERLIN)),
        (" 2026-11-22 01:30+02:00", "v1", datetime(2026, 11, 21, 23, 30, tzinfo=UTC)),
        (
            "2026-11-22T01:30Z",
            "{scheduled@Europe/Berlin}",
            datetime(2026, 11, 22, 1, 30, tzinfo=UTC),
        ),
    ],
)
def test_a_day_is_one_on_the_clock_of_the_name(text: str, name: str, due: datetime) -> None:
    assert read_due(text, name=name) == due


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Auckland", "America/Santiago", "UTC"])
def test_a_day_names_the_version_of_that_day(zone: str) -> None:
    name = f"{{scheduled@{zone}:%Y-%m-%d}}"
    for number in range(366):
        day = f"{datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number):%Y-%m-%d}"
        assert fill_for(name, read_due(day, name=name)) == day


@pytest.mark.parametrize("text", ["someday", "22.11.2026", "2026-13-01", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="Write 2026-11-22"):
        read_due(text, name="v1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("{scheduled}", False),
        ("{scheduled:%Y-%m-%dT%H}", False),
        ("{scheduled@Europe/Berlin:%Y-%m-%d}", False),
        ("{scheduled@Europe/Berlin:%Y-%m-%dT%H}", True),
        ("{scheduled@Europe/Berlin:%Y-%m-%dT%H%Z}", False),
        ("{scheduled@Europe/Berlin:%Y-%m-%dT%H}{scheduled:T%HZ}", False),
        ("{scheduled@Asia/Tokyo:%Y-%m-%dT%H}", False),
        ("{scheduled@America/New_York:%H%M}", True),
        ("{scheduled@Australia/Lord_Howe:%H%M}", True),  # by half an hour
    ],
)
def test_a_name_with_hours_repeats_where_clocks_go_back(name: str, *, expected: bool) -> None:
    assert repeats(name) is expected


def test_only_times_on_both_sides_of_the_turn_are_repeated() -> None:
    name = "{scheduled@Europe/Berlin:%Y-%m-%dT%H}"
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert is_repeated(name, first, first + timedelta(hours=1))
    assert not is_repeated(name, first, first)
    assert not is_repeated(name, first, first + timedelta(hours=2))
    day = "{scheduled@Europe/Berlin:%Y-%m-%d}"
    assert not is_repeated(day, first, first + timedelta(hours=1)), "a night that ran twice"


def test_a_missing_midnight_has_the_name_of_the_day_before() -> None:
    """In Santiago the clocks went from 24:00 on the 5th to 1:00 on the 6th of September."""
    name = "{scheduled@America/Santiago:%Y-%m-%d}"
    due = datetime(2026, 9, 6, 3, tzinfo=UTC)  # as the server's cron schedule says
    assert fill_for(name, due) == "2026-09-05"
    assert is_before_its_day(name, due)
    assert not is_before_its_day(name, due - timedelta(days=1))
    assert not is_before_its_day(name, due + timedelta(hours=1))
    assert not is_before_its_day(
        "{scheduled@Europe/Berlin}", datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    )
