"""How much a Prefect server is given: what Prefect Cloud takes, and what a page can show.

    parameters      512 KB a run                      Cloud
    a request       5 MiB                             Cloud
    an event        1.5 MB, 100 related resources     Cloud and open source
    a log message   25,000 characters                 Cloud; Prefect itself cuts it
    an artifact     no number is published but the request's; a page shows far less

What is left out is always told in place.
"""

import json
from collections.abc import Mapping, Sequence
from typing import cast

Cell = str | int | float

MOST_ARTIFACT_BYTES = 500_000
MOST_DESCRIPTION_CHARACTERS = 1_000
MOST_RELATED = 50
MOST_PAYLOAD_BYTES = 100_000

_MOST_ITEMS = 50
_MOST_CHARACTERS = 1_000


def cut_text(text: str, most: int) -> str:
    """Return the beginning of `text`: at most `most` characters, the mark that it was cut too."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def cut_markdown(markdown: str) -> str:
    """Return Markdown that an artifact can hold: whole lines, and how much is missing."""
    data = markdown.encode()
    if len(data) <= MOST_ARTIFACT_BYTES:
        return markdown
    kept = data[: MOST_ARTIFACT_BYTES - 200].decode(errors="ignore").rpartition("\n")[0]
    missing = len(data) - len(kept.encode())
    return f"{kept}\n\n*Cut: {missing:,} of {len(data):,} bytes are left out.*"


def cut_rows(rows: Sequence[Mapping[str, Cell]]) -> list[dict[str, Cell]]:
    """Return the first of a table's rows, as many as an artifact can hold."""
    room, kept = MOST_ARTIFACT_BYTES, list[dict[str, Cell]]()
    for row in rows:
        room -= len(json.dumps(dict(row))) + 2
        if room < 0:
            break
        kept.append(dict(row))
    return kept


def cut_payload(payload: Mapping[str, object]) -> dict[str, object]:
    """Return an event's payload with long texts and lists shortened where it is large."""
    if _size(payload) <= MOST_PAYLOAD_BYTES:
        return dict(payload)
    short = cast("dict[str, object]", _shortened(payload))
    if _size(short) <= MOST_PAYLOAD_BYTES:
        return short | {"cut": True}
    plain = {key: value for key, value in short.items() if not isinstance(value, dict | list)}
    return plain | {"cut": True}


def _shortened(value: object) -> object:
    if isinstance(value, str):
        return cut_text(value, _MOST_CHARACTERS)
    if isinstance(value, Mapping):
        found = cast("Mapping[str, object]", value)
        return {key: _shortened(each) for key, each in found.items()}
    if isinstance(value, Sequence):
        return [_shortened(each) for each in cast("Sequence[object]", value)[:_MOST_ITEMS]]
    return value


def _size(payload: Mapping[str, object]) -> int:
    return len(json.dumps(payload, default=str))
