"""When a recurring version was due, and what its name makes of that."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.flows.templates import fill, zone_of

_HALF_AN_HOUR = timedelta(minutes=30)
# Rules change, but the clocks of a zone go back in each year or in none.
_SOME_YEAR = 2026


def read_due(text: str, *, name: str) -> datetime:
    """Read when a version was due, as a person writes it.

    Args:
        text: ISO 8601: a day, or a day and a time; without an offset it is on the clock of `name`.
        name: The version's name as a template; its time zone counts, UTC where it has none.

    Raises:
        InvalidInputError: It is no time.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidInputError(
            "Not a day or a time", subject=repr(text), hint="Write 2026-11-22 or 2026-11-22T01:00."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=zone_of(name))


def fill_for(text: str, due: datetime) -> str:
    """Write into `text` when a version was due, whatever run makes it."""
    return fill(text, scheduled=lambda: due)


def repeats(name: str) -> bool:
    """Tell whether two hours get one name when the clocks go back: the name has hours, no offset.

    Args:
        name: The version's name as a template.
    """
    for moment, change in _turns(zone_of(name)):
        before, twice, again = (
            fill_for(name, moment + shift * abs(change)) for shift in (-1.5, -0.5, 0.5)
        )
        if change < timedelta() and before != twice == again:
            return True
    return False


def is_repeated(name: str, one: datetime, other: datetime) -> bool:
    """Tell whether two times share the name because the clocks went back between them."""
    zone = zone_of(name)
    offsets = {moment.astimezone(zone).utcoffset() for moment in (one, other)}
    return len(offsets) > 1 and repeats(name) and fill_for(name, one) == fill_for(name, other)


def is_before_its_day(name: str, due: datetime) -> bool:
    """Tell whether `due` may stand for an hour after midnight that the clocks leave out.

    Prefect starts a run that is due in a missing hour before that hour. Where it is the first of
    a day, the day is still the one before then, and the version's name that day's.
    """
    return any(
        moment - change <= due < moment and fill_for(name, due) != fill_for(name, due + change)
        for moment, change in _turns(zone_of(name), due.year)
        if change > timedelta()
    )


def _turns(zone: tzinfo, year: int = _SOME_YEAR) -> Iterator[tuple[datetime, timedelta]]:
    """Yield when the clocks of a zone turn in a year, and by how much."""
    if not isinstance(zone, ZoneInfo):
        return
    start = datetime(year, 1, 1, tzinfo=UTC)
    offset = start.astimezone(zone).utcoffset() or timedelta()
    for number in range(366 * 48):
        moment = start + number * _HALF_AN_HOUR
        now = moment.astimezone(zone).utcoffset() or timedelta()
        if now != offset:
            yield moment, now - offset
        offset = now
