"""Work that is done once for a version, however often and wherever it is begun.

The store decides, by objects that are only ever created, in one folder for each version and work:

    turn-0.json, turn-1.json, …   who began, one after the other: of two that begin at once one wins
    done.json                     who ended it: from then on nobody begins

A turn is renewed while its process lives. Who meets the turn of another watches it: one that is
renewed is alive, whatever anybody's clock says; one that is not within the lease is over, and the
next may begin. A process that stood still for longer than its lease can so find that another has
begun: then both work, and only the first to end it has ended it.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.cache.leases import Process, this_process
from prefect_datasets.core.errors import ConflictError, DatasetError
from prefect_datasets.core.format import keys
from prefect_datasets.core.versions.records import now, read_optional

if TYPE_CHECKING:
    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.store import Store

LEASE_SECONDS = 60.0
_RENEWALS = 6  # in the time of a lease
_POLLS = 60

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """Another has the work.

    Attributes:
        is_done: Whether it is done; else it is under way.
        who: What the other said of itself.
    """

    is_done: bool
    who: Mapping[str, Any]


class Turn:
    """The right to do the work, until it is finished or given up."""

    def __init__(self, store: Store, place: str, number: int, body: dict[str, Any]) -> None:
        self._store, self._place, self._number, self._body = store, place, number, body
        self._ended = threading.Event()
        self._every = float(body["lease_seconds"]) / _RENEWALS
        self._thread = threading.Thread(target=self._renew, name="turn", daemon=True)
        self._thread.start()

    def finish(self) -> bool:
        """Tell that the work is done; False where another was first."""
        self._stop()
        return _create(self._store, _done(self._place), self._body)

    def give_up(self) -> None:
        """Let the next begin at once."""
        self._stop()
        self._write(is_over=True)

    def _stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._ended.wait(self._every):
            self._body["beat"] += 1
            try:
                self._write()
            except DatasetError as error:  # the next renewal may come in time
                _log.warning("The turn could not be renewed: %s", error)

    def _write(self, **more: object) -> None:
        body = json.dumps({**self._body, **more}).encode()
        self._store.write(_turn(self._place, self._number), body)


def begin(
    store: Store,
    version: VersionRecord,
    work: str,
    *,
    who: Mapping[str, Any],
    lease_seconds: float = LEASE_SECONDS,
) -> Turn | Taken:
    """Take the turn for a piece of work on a version.

    Where another has it and does not show that it lives, this takes up to a lease.

    Args:
        store: Where the version is.
        version: The version.
        work: Name of the work.
        who: What others are told of whoever asks; with `run` and `attempt`, a later attempt of one
            run takes over from an earlier one at once.
        lease_seconds: How long a turn lasts without being renewed.
    """
    place = keys.once_prefix(version.uri, version.digest, work)
    me = this_process()
    body: dict[str, Any] = {
        "who": dict(who),
        "token": secrets.token_hex(16),
        "began": now(),
        "beat": 0,
        "lease_seconds": lease_seconds,
        "process": {"host": me.host, "pid": me.pid, "started": me.started},
        "is_over": False,
    }
    number = 0
    while True:
        if (done := _read(store, _done(place))) is not None:
            return Taken(is_done=True, who=done["who"])
        while (other := _read(store, _turn(place, number))) is not None:
            if not _has_ended(other, who) and _is_alive(store, place, number, other):
                break
            number += 1
        else:
            if _create(store, _turn(place, number), body):
                return Turn(store, place, number, body)
            continue
        if _read(store, _done(place)) is None:
            return Taken(is_done=False, who=other["who"])


def _has_ended(other: Mapping[str, Any], who: Mapping[str, Any]) -> bool:
    """Tell whether a turn is over, without waiting."""
    if other["is_over"]:
        return True
    theirs = other["who"]
    if theirs.get("run") and theirs.get("run") == who.get("run"):
        return int(theirs.get("attempt", 0)) < int(who.get("attempt", 0))
    holder, me = Process(**other["process"]), this_process()
    return holder.host == me.host and not holder.is_alive_here()


def _is_alive(store: Store, place: str, number: int, seen: Mapping[str, Any]) -> bool:
    """Watch a turn: True once it is renewed or the work is done, False when its lease is over."""
    lease = float(seen["lease_seconds"])
    end = time.monotonic() + lease
    while time.monotonic() < end:
        time.sleep(lease / _POLLS)
        found = _read(store, _turn(place, number)) or seen
        if found["is_over"]:
            return False
        if found["beat"] != seen["beat"] or _read(store, _done(place)) is not None:
            return True
    return False


def _create(store: Store, key: str, body: Mapping[str, Any]) -> bool:
    """Create an object; False where it is another's. A lost reply is settled by reading it."""
    try:
        store.create(key, json.dumps(body).encode())
    except ConflictError:
        found = _read(store, key)
        return found is not None and found["token"] == body["token"]
    return True


def _read(store: Store, key: str) -> dict[str, Any] | None:
    data = read_optional(store, key)
    return None if data is None else json.loads(data)


def _turn(place: str, number: int) -> str:
    return f"{place}turn-{number}.json"


def _done(place: str) -> str:
    return f"{place}done.json"
