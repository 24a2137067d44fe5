"""Times in version URIs: `dataset://sensors/{scheduled:%Y-%m-%d}`."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from prefect_datasets.core.errors import InvalidUriError
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.tasks.run import scheduled_start

_FIELD = re.compile(r"\{scheduled(?:@(?P<zone>[^:{}]+))?(?::(?P<form>[^{}]*))?\}")
_DAY = "%Y-%m-%d"


def fill(text: str | DatasetUri, *, scheduled: Callable[[], datetime] = scheduled_start) -> str:
    """Write the run's scheduled start into `text`.

    `{scheduled}` is the day; `{scheduled:%Y-%m-%dT%H}` any form that `strftime` knows, in UTC;
    `{scheduled@Europe/Berlin:%Y-%m-%d}` the same on a clock in Berlin.

    Args:
        text: A URI, perhaps with such fields.
        scheduled: Gives the scheduled start; not asked where there is no field.

    Raises:
        InvalidUriError: A field names no time zone that is known here.
    """
    text = str(text)

    def written(field: re.Match[str]) -> str:
        zone = _zone(field["zone"], where=text)
        return scheduled().astimezone(zone).strftime(field["form"] or _DAY)

    return _FIELD.sub(written, text)


def zone_of(text: str) -> tzinfo:
    """Return the time zone of the first field in `text` that names one, else UTC.

    Raises:
        InvalidUriError: It is not known here.
    """
    named = (field["zone"] for field in _FIELD.finditer(text) if field["zone"])
    return _zone(next(named, None), where=text)


def _zone(name: str | None, *, where: str) -> tzinfo:
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise InvalidUriError(
            f"No such time zone {name!r}",
            subject=repr(where),
            hint="Write one as in {scheduled@Europe/Berlin:%Y-%m-%d}.",
        ) from error
