"""Work that is done once for a version: the store decides, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.publish.publish import VersionDeclaration, publish_directory
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import once
from prefect_datasets.core.versions.catalog import find
from prefect_datasets.core.versions.once import Taken, Turn

URI = DatasetUri("sensor-data", "v1")
LEASE = 0.6


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def version(store: Store, tmp_path: Path) -> VersionRecord:
    folder = tmp_path / "readings"
    folder.mkdir()
    (folder / "a.csv").write_text("1")
    publish_directory(folder, store=store, to=[VersionDeclaration(uri=URI)])
    return find(store, URI)


def begin(store: Store, version: VersionRecord, name: str, **who: Any) -> Turn | Taken:
    who = {"name": name, **who}
    return once.begin(store, version, "train", who=who, lease_seconds=LEASE)


def test_one_begins_and_the_others_are_told_who(store: Store, version: VersionRecord) -> None:
    turn = begin(store, version, "first")
    assert isinstance(turn, Turn)
    assert begin(store, version, "second") == Taken(is_done=False, who={"name": "first"})
    assert turn.finish()
    assert begin(store, version, "third") == Taken(is_done=True, who={"name": "first"})


def test_of_many_that_begin_at_once_one_has_it(store: Store, version: VersionRecord) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: begin(store, version, str(n)), range(8)))
    turns = [each for each in found if isinstance(each, Turn)]
    assert len(turns) == 1
    turns[0].give_up()


def test_what_was_given_up_is_begun_anew_at_once(store: Store, version: VersionRecord) -> None:
    first = begin(store, version, "first")
    assert isinstance(first, Turn)
    first.give_up()
    second = begin(store, version, "second")
    assert isinstance(second, Turn)
    assert second.finish()
    assert begin(store, version, "third") == Taken(is_done=True, who={"name": "second"})


def test_another_work_of_the_version_is_another(store: Store, version: VersionRecord) -> None:
    for work in ("train", "evaluate", "a/b", "..", "größe?"):
        turn = once.begin(store, version, work, who={}, lease_seconds=LEASE)
        assert isinstance(turn, Turn), work
        assert turn.finish()
    assert sorted(path.name for path in Path(store.bucket, "datasets").iterdir()) == ["sensor-data"]


def test_a_version_of_other_files_under_the_name_is_another(
    store: Store, version: VersionRecord
) -> None:
    turn = begin(store, version, "first")
    assert isinstance(turn, Turn)
    assert turn.finish()
    other = VersionRecord.from_json(
        version.to_json().replace(version.digest.encode(), b"0" * 64), key="k"
    )
    later = begin(store, other, "second")
    assert isinstance(later, Turn)
    later.give_up()


CODE = """
import sys, time
from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import once
from prefect_datasets.core.versions.catalog import find

store = open_store(sys.argv[1])
turn = once.begin(store, find(store, DatasetUri("sensor-data", "v1")), "train", who={})
print(type(turn).__name__, flush=True)
time.sleep(600)
"""


def test_after_kill_9_the_next_on_the_machine_begins_at_once(
    store: Store, version: VersionRecord
) -> None:
    command = [sys.executable, "-c", CODE, store.bucket]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "Turn\n"
        os.kill(killed.pid, signal.SIGKILL)
    began = time.monotonic()
    turn = begin(store, version, "next")
    assert isinstance(turn, Turn)
    assert time.monotonic() - began < once.LEASE_SECONDS / 2, "the lease was not waited for"
    assert turn.finish()


def of_another_host(store: Store) -> Path:
    """Make the newest turn look as if it were held somewhere else, and renewed no more."""
    (turn,) = Path(store.bucket).rglob("turn-0.json")
    body = json.loads(turn.read_bytes())
    body["process"]["host"] = "elsewhere"
    turn.write_text(json.dumps(body))
    return turn


def test_a_turn_elsewhere_that_is_not_renewed_ends_with_its_lease(
    store: Store, version: VersionRecord
) -> None:
    first = begin(store, version, "first")
    assert isinstance(first, Turn)
    first._stop()  # it stands still
    of_another_host(store)
    began = time.monotonic()
    second = begin(store, version, "second")
    assert isinstance(second, Turn)
    assert time.monotonic() - began >= LEASE
    assert second.finish()
    assert not first.finish(), "it learns that another was first"


def test_a_later_attempt_of_a_run_takes_over(store: Store, version: VersionRecord) -> None:
    first = begin(store, version, "a", run="r", attempt=1)
    assert isinstance(first, Turn)
    again = begin(store, version, "a", run="r", attempt=1)
    assert isinstance(again, Taken), "the same attempt, doubled"
    second = begin(store, version, "a", run="r", attempt=2)
    assert isinstance(second, Turn)
    second.give_up()
    first.give_up()
