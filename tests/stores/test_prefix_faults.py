"""Publishing a prefix while the store that has the objects fails, or the publisher is killed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from prefect_datasets.core.errors import AccessDeniedError, SourceChangedError, StoreError
from prefect_datasets.core.format import parts
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.publish import journal
from prefect_datasets.core.publish.plan import Plan
from prefect_datasets.core.publish.prefix import plan_prefix
from prefect_datasets.core.publish.publish import publish_plan
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.versions import catalog
from prefect_datasets.core.versions.verify import verify
from tests.core.published import contents, declare, uri
from tests.servers.faultproxy import FaultProxy
from tests.servers.process import Served
from tests.stores.contents import spread

ALWAYS = 10_000
FILES = {f"many/{number:03}.bin": spread(2000, number) for number in range(30)}


@pytest.fixture
def proxy(seaweedfs: Served) -> Generator[FaultProxy]:
    with FaultProxy(str(seaweedfs.options["endpoint_url"])) as running:
        yield running


@pytest.fixture
def raw(seaweedfs: Served, proxy: FaultProxy, fresh_prefix: str, fast: bool) -> Store:
    options = {**seaweedfs.options, "endpoint_url": proxy.url, "fast": fast}
    return open_store(f"{seaweedfs.url}/{fresh_prefix}", options)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def publish(raw: Store, store: Store) -> None:
    declared = [declare("v1", packaging=True)]
    plan = plan_prefix(raw.url, store=store, options=raw.options, to=declared)
    publish_plan(plan, store=store)


@pytest.mark.parametrize(
    ("fast", "path"),
    [(True, "/many/"), (True, "list-type"), (True, r"/large\.bin"), (False, "/many/")],
    ids=["small", "listing", "large", "s3fs"],
)
@pytest.mark.parametrize("action", ["refuse", "reset", "truncate"])
def test_what_happens_once_is_not_seen(
    raw: Store, store: Store, proxy: FaultProxy, action: str, path: str
) -> None:
    files = {**FILES, "large.bin": spread(20_000_000)} if "large" in path else FILES
    raw.write_many(list(files.items()))
    rule = proxy.fail("GET", action, path=path)  # type: ignore[arg-type]
    publish(raw, store)
    assert rule.hits == 1
    assert contents(store, catalog.find(store, uri("v1"))) == files


@pytest.mark.parametrize("fast", [True])
class TestAlways:
    def test_a_store_that_stays_away_is_named(
        self, raw: Store, store: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("prefect_datasets.core.store.s3_obstore._MAX_RETRIES", 1)
        raw.write_many(list(FILES.items()))
        quick = open_store(raw.url, raw.options)
        proxy.fail("GET", "refuse", path="/many/017", times=ALWAYS)
        with pytest.raises(StoreError, match=r"many/017\.bin") as caught:
            publish(quick, store)
        assert caught.value.retryable
        proxy.clear()
        publish(quick, store)
        assert contents(store, catalog.find(store, uri("v1"))) == FILES

    def test_no_access(self, raw: Store, store: Store) -> None:
        raw.write("a", b"1")
        options = {**raw.options, "secret": "wrong"}
        with pytest.raises(AccessDeniedError):
            plan_prefix(raw.url, store=store, options=options, to=[declare("v1")])


@pytest.mark.parametrize("fast", [True])
def test_whatever_changes_meanwhile_is_never_published(raw: Store, store: Store) -> None:
    """Objects are written, moved and deleted at random places in the plan's life."""
    chance = random.Random(7)
    for number in range(12):
        files = {f"{number}/{name}": chance.randbytes(500) for name in range(20)}
        raw.write_many(list(files.items()))
        place = f"{raw.url}/{number}"
        declared = [declare(f"n{number}", packaging=True)]
        plan = plan_prefix(place, store=store, options=raw.options, to=declared)
        victim = f"{number}/{chance.randrange(20)}"
        match chance.choice(["same size", "grow", "empty", "delete", "same bytes", "new"]):
            case "delete":
                raw.delete([victim])
            case "same bytes":
                raw.write(victim, files[victim])
            case "new":
                raw.write(f"{number}/new", b"later than the plan")
            case kind:
                size = {"same size": 500, "grow": 501, "empty": 0}[kind]
                raw.write(victim, chance.randbytes(size))
        made = outcome(plan, store)
        if isinstance(made, SourceChangedError):
            assert made.subject.endswith(victim)
            assert catalog.read_record(store, declared[0].uri) is None
        else:
            paths = {path.partition("/")[2]: data for path, data in files.items()}
            assert contents(store, made) == paths, "what was listed, and nothing else"


def outcome(plan: Plan, store: Store) -> VersionRecord | SourceChangedError:
    try:
        [record] = publish_plan(plan, store=store)
    except SourceChangedError as error:
        return error
    return record


_PUBLISH = """
import json, sys
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.publish.prefix import plan_prefix
from prefect_datasets.core.publish.publish import Policy, publish_plan
from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri
store = open_store(sys.argv[1])
plan = plan_prefix(sys.argv[2], store=store, options=json.loads(sys.argv[3]),
                   to=[VersionDeclaration(DatasetUri("pets", "v1"), packaging=True)],
                   policy=Policy(max_package_bytes=100_000))
publish_plan(plan, store=store)
"""


def count_parts(folder: Path) -> int:
    """Count the parts that any attempt left whole."""
    return sum(1 for _ in folder.glob("store/outputs/*/tables/pets/v1/*.parquet"))


def test_a_killed_publish_goes_on_where_it_was(
    seaweedfs: Served, fresh_prefix: str, store: Store, tmp_path: Path
) -> None:
    raw = open_store(f"{seaweedfs.url}/{fresh_prefix}", seaweedfs.options)
    files = {f"d{number % 5}/{number:05}": os.urandom(1500) for number in range(800)}
    raw.write_many(list(files.items()))
    options = json.dumps(seaweedfs.options)
    command = [sys.executable, "-c", _PUBLISH, str(tmp_path / "store"), raw.url, options]
    n_killed = 0
    for n_parts in (1, 5, 10_000):
        with subprocess.Popen(command) as process:
            while process.poll() is None and count_parts(tmp_path) < n_parts:
                time.sleep(0.01)
            if process.poll() is None:
                process.kill()
                n_killed += 1
    assert n_killed
    record = catalog.find(store, uri("v1"))
    assert contents(store, record) == files
    assert verify(record.uri, store=store, deep=True).is_whole
    executions = {row["url"].split("/")[1] for row in parts.read_rows(store, record).to_pylist()}
    assert len(executions) > 1, "what the killed attempts stored is used"
    assert journal.open_attempts(store, record.uri) == []
