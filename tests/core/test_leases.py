"""Who uses a tree, and for how long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from prefect_datasets.core.cache import check, leases
from prefect_datasets.core.cache.cache import Cache, Entry, Ready
from prefect_datasets.core.cache.prune import condemn
from tests.core.cached import DAY, DIGEST, fill


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


HOLD = """
import sys, time
from pathlib import Path
from prefect_datasets.core.cache.cache import Cache, Entry
cache = Cache(Path(sys.argv[1]), grace_seconds=float(sys.argv[2]))
assert cache.use(Entry(cache.root, "versions", "pets", "v1-x"))
print("held", flush=True)
time.sleep(float(sys.argv[3]))
"""


def hold(cache: Cache, *, grace: float = 0, seconds: float = 60) -> subprocess.Popen[str]:
    """Start a process that uses the tree `v1-x`."""
    command = [sys.executable, "-c", HOLD, str(cache.root), str(grace), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str], *, kill: bool = False) -> None:
    if kill:
        process.kill()
    process.communicate()


def test_a_lease_holds_while_its_process_lives_and_not_after_a_kill(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"})
    process = hold(cache)
    assert entry.is_in_use()
    assert condemn(cache, entry) is None
    assert entry.read_ready() is not None
    end(process, kill=True)
    assert not entry.is_in_use()
    assert condemn(cache, entry) is not None
    assert not entry.folder.exists()


def test_a_lease_is_given_back_at_the_end(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {})
    end(hold(cache, seconds=0))
    assert not list(entry.leases.iterdir())


def test_a_grace_outlives_the_process(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {})
    end(hold(cache, seconds=0, grace=DAY))
    assert entry.is_in_use()
    assert not entry.is_in_use(now=time.time() + DAY + 1)


@pytest.mark.parametrize(("age", "holds"), [(60.0, True), (1000.0, False)])
def test_a_lease_of_another_host_holds_while_it_is_renewed(
    cache: Cache, age: float, holds: bool
) -> None:
    entry = fill(cache, "v1-x", {})
    lease = entry.leases / "1-1-0.json"
    lease.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1", "until": 0}))
    os.utime(lease, (time.time() - age, time.time() - age))
    assert entry.is_in_use() == holds


def test_a_process_with_a_recycled_id_is_not_taken_for_the_dead_one(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {})
    me = leases.this_process()
    body = {"host": me.host, "pid": me.pid, "started": "1", "until": 0}
    (entry.leases / "x.json").write_text(json.dumps(body))
    assert not entry.is_in_use()


def lease_of_command(entry: Entry, **said: str | float | None) -> None:
    """Write the lease that a command left which ended an hour ago; None for a field it lacks."""
    body: dict[str, str | float | None] = {
        "host": leases.this_host(),
        "pid": 2**30,
        "started": "1",
        "machine": "this one",
        "boot": "an earlier one",
        "until": time.time() + DAY,
    }
    body |= said
    lease = entry.leases / "1073741824-1-0.json"
    lease.write_text(json.dumps({key: each for key, each in body.items() if each is not None}))
    os.utime(lease, (time.time() - 3600, time.time() - 3600))


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ({}, False),
        ({"host": f"{os.uname().nodename} pid:[1]"}, False),
        ({"boot": leases.this_boot()}, True),
        ({"host": "elsewhere pid:[1]"}, True),
        ({"machine": "another"}, True),
        ({"machine": ""}, True),
        ({"boot": ""}, True),
        ({"machine": None, "boot": None}, True),
        ({"machine": 1, "boot": []}, True),
    ],
)
def test_a_lease_ends_with_the_boot_of_its_machine(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, said: dict[str, str], *, holds: bool
) -> None:
    monkeypatch.setattr(leases, "this_machine", lambda: "this one")
    entry = fill(cache, "v1-x", {"a": b"1"})
    lease_of_command(entry, **said)
    assert entry.is_in_use() is holds
    assert (condemn(cache, entry) is None) is holds


@pytest.mark.parametrize(("age", "holds"), [(60, True), (3600, False)])
def test_a_process_of_another_boot_of_no_known_machine_is_one_of_elsewhere(
    cache: Cache, age: float, *, holds: bool
) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"})
    me = leases.this_process()
    lease_of_command(entry, pid=me.pid, started=me.started, machine="", until=0.0)
    os.utime(next(entry.leases.iterdir()), (time.time() - age, time.time() - age))
    assert entry.is_in_use() is holds


def test_a_torn_lease_holds_while_it_is_young(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {})
    (entry.leases / "x.json").write_text('{"host')
    assert entry.is_in_use()
    assert not entry.is_in_use(now=time.time() + 1000)


def test_a_forked_child_holds_no_leases_of_its_parent(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {})
    cache.use(entry)
    script = f"""
import os
from pathlib import Path
from prefect_datasets.core.cache.cache import Cache, Entry
cache = Cache(Path({str(cache.root)!r}))
entry = Entry(cache.root, "versions", "pets", "v1-x")
assert cache.use(entry)
if (pid := os.fork()) == 0:
    from prefect_datasets.core.cache import leases
    os._exit(1 if list(leases._keeper._held) else 0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert entry.is_in_use()
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_leases_are_renewed(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {})
    cache.use(entry)
    [lease] = entry.leases.iterdir()
    os.utime(lease, (1.0, 1.0))
    leases._keeper.renew()
    assert lease.stat().st_mtime > 1.0
    lease.unlink()
    leases._keeper.renew()
    assert lease not in leases._keeper._held


def test_a_lease_with_a_term_keeps_no_tree_that_fails_the_check_after_a_boot(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "this_machine", lambda: "this one")
    entry = fill(cache, "v1-x", {"a": b"1"})
    lease_of_command(entry)
    ready = replace(Ready("u", DIGEST, 1, 1), host=leases.this_host(), boot="an earlier one")
    entry.ready.write_bytes(ready.to_json())
    command = Cache(cache.root, grace_seconds=DAY)
    found = command.use(entry)
    assert found is not None
    assert check.after_boot(command, entry, found) is None
    assert not entry.folder.exists()
