"""Where trees lie, who uses them, and what a prune takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.cache import check, leases, prune
from prefect_datasets.core.cache.attempt import Attempt, clear_wreck
from prefect_datasets.core.cache.cache import VERSIONS, Cache, Entry, Ready, Selection
from prefect_datasets.core.cache.prune import (
    Candidate,
    clear,
    condemn,
    plan_clear,
    plan_prune,
    survey,
)
from prefect_datasets.core.errors import UnsupportedFormatError
from prefect_datasets.core.progress import NoProgress
from prefect_datasets.core.store_spec import StoreSpec, identity
from prefect_datasets.core.uri import DatasetUri
from tests.core.published import Told

DAY = 86_400.0
URI = DatasetUri("pets", "v1")
DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def fill(cache: Cache, name: str, files: dict[str, bytes], *, used: float | None = None) -> Entry:
    """Make a tree by hand, that nobody uses."""
    entry = Entry(cache.root, VERSIONS, "pets", name)
    attempt = Attempt(cache, entry)
    for path, content in files.items():
        (attempt.files / path).parent.mkdir(parents=True, exist_ok=True)
        (attempt.files / path).write_bytes(content)
    n_bytes = sum(map(len, files.values()))
    assert attempt.publish(Ready(f"dataset://pets/{name}", DIGEST, len(files), n_bytes))
    for lease in entry.leases.iterdir():
        leases.give_back(lease)
    if used is not None:
        os.utime(entry.ready, (used, used))
    return entry


# -- places -----------------------------------------------------------------------------------


def test_a_selection_has_a_place_of_its_own(cache: Cache) -> None:
    names = [
        cache.version(URI, DIGEST, selection).name
        for selection in (
            Selection(),
            Selection(include=("a",)),
            Selection(include=("a", "b")),
            Selection(shard=(0, 2)),
            Selection(shard=(1, 2)),
        )
    ]
    assert names[0] == "v1-0123456789abcdef"
    assert len(set(names)) == len(names)


def test_selections_that_mean_the_same_share_a_place(cache: Cache) -> None:
    def name(selection: Selection) -> str:
        return cache.version(URI, DIGEST, selection).name

    assert name(Selection(shard=(0, 1))) == name(Selection())
    assert name(Selection(include=("a", "b", "a"))) == name(Selection(include=("b", "a")))


def test_the_longest_names_fit_a_file_name(cache: Cache) -> None:
    uri = DatasetUri("d", "v" * 229)
    assert len(cache.version(uri, DIGEST, Selection(include=("x",))).name) <= 255


def test_a_pointer_holds_for_its_store_and_stamp(cache: Cache) -> None:
    cache.point("one", URI, DIGEST, stamp="s")
    assert cache.digest_of("one", URI, stamp="s") == DIGEST
    assert cache.digest_of("one", URI, stamp="t") is None
    assert cache.digest_of("two", URI, stamp="s") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (StoreSpec("s3://b/x"), StoreSpec("s3://b/y")),
        (StoreSpec("s3://b"), StoreSpec("s3://b", {"endpoint_url": "http://127.0.0.1:1"})),
        (
            StoreSpec("s3://b", {"client_kwargs": {"endpoint_url": "http://127.0.0.1:2"}}),
            StoreSpec("s3://b", {"client_kwargs": {"endpoint_url": "http://127.0.0.1:1"}}),
        ),
        (StoreSpec("s3://b", {"profile": "a"}), StoreSpec("s3://b", {"profile": "b"})),
        (StoreSpec("s3://b"), StoreSpec("gs://b")),
    ],
)
def test_different_stores_have_different_names(one: StoreSpec, other: StoreSpec) -> None:
    assert identity(one) != identity(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (StoreSpec("s3://b/x/"), StoreSpec("s3://b/x", {"secret": "s"})),
        (StoreSpec("s3://b", {"key": "k"}), StoreSpec("s3a://b", {"key": "l"})),
        (StoreSpec("/tmp/x"), StoreSpec("file:///tmp/x/")),
    ],
)
def test_the_same_store_has_one_name(one: StoreSpec, other: StoreSpec) -> None:
    assert identity(one) == identity(other)


def test_an_open_store_has_the_name_of_its_spec(tmp_path: Path) -> None:
    spec = StoreSpec(str(tmp_path))
    assert identity(spec.open()) == identity(spec)


def test_a_store_of_the_environment_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(StoreSpec("s3://b"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert identity(StoreSpec("s3://b")) != before


# -- use --------------------------------------------------------------------------------------


def test_use_finds_only_what_is_complete(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"})
    assert cache.use(entry) is not None
    entry.ready.unlink()
    assert cache.use(entry) is None
    assert cache.use(Entry(cache.root, VERSIONS, "pets", "other")) is None


def test_a_tree_of_a_newer_release_is_refused_and_never_deleted(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"}, used=1.0)
    entry.ready.write_text(json.dumps({"format": 2, "what": "who knows"}))
    with pytest.raises(UnsupportedFormatError, match="newer release"):
        cache.use(entry)
    clear_wreck(cache, entry)
    assert condemn(cache, entry) is None
    found = survey(cache)
    for plan in (plan_clear(found), plan_prune(found, now=time.time(), max_bytes=0)):
        assert [why for _, why in plan.keeps] == ["made by a newer release"]
        assert plan.frees == ()
    said = Told()
    assert check.verify(cache, repair=True, progress=said) == []
    assert str(entry.folder) in said.warnings[0]
    assert (entry.files / "a").read_bytes() == b"1"


def test_an_attempt_gives_way_to_a_tree_of_a_newer_release(cache: Cache) -> None:
    attempt = Attempt(cache, Entry(cache.root, VERSIONS, "pets", "v1-x"))
    entry = fill(cache, "v1-x", {"a": b"1"})
    entry.ready.write_text(json.dumps({"format": 2}))
    assert not attempt.publish(Ready("u", DIGEST, 0, 0))
    assert (entry.files / "a").read_bytes() == b"1"


def test_use_moves_a_tree_to_the_young_end(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {}, used=1000.0)
    cache.use(entry)
    assert entry.last_used() > time.time() - 60


def test_a_failed_use_leaves_no_lease(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {})
    entry.ready.unlink()
    cache.use(entry)
    assert not entry.is_in_use()


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


def test_the_warm_path_imports_neither_arrow_nor_a_store() -> None:
    script = (
        "import sys, prefect_datasets.core.resolve.resolve, prefect_datasets.core.resolve.inputs\n"
        "heavy = {'pyarrow', 'numpy', 'fsspec', 'obstore', 's3fs', 'prefect', 'pydantic', 'isal'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


# -- prune ------------------------------------------------------------------------------------


def candidate(number: int, age: float, n_bytes: int, in_use: bool, is_tree: bool) -> Candidate:
    entry = Entry(Path("/c"), VERSIONS, "pets", str(number)) if is_tree else None
    return Candidate(Path(f"/c/{number}"), str(number), entry, 1e9 - age, n_bytes, in_use)


candidates = st.lists(
    st.tuples(st.floats(0, 1e6), st.integers(0, 100), st.booleans(), st.booleans()), max_size=12
).map(
    lambda drawn: sorted(
        (candidate(number, *values) for number, values in enumerate(drawn)),
        key=lambda item: (item.in_use, item.last_used),
    )
)


@given(candidates, st.integers(0, 600))
def test_a_budget_is_kept_without_taking_more_than_needed(
    found: list[Candidate], budget: int
) -> None:
    plan = plan_prune(found, now=1e9, max_bytes=budget)
    assert {*plan.frees, *(kept for kept, _ in plan.keeps)} == set(found)
    assert not any(item.in_use for item in plan.frees)
    trees = [item for item in plan.frees if item.entry]
    free_trees = [item for item, why in plan.keeps if item.entry and why != "in use"]
    if plan.n_kept_bytes > budget:
        assert not free_trees
    if trees:  # without the last one it would not have been enough
        assert plan.n_kept_bytes + trees[-1].n_bytes > budget or not trees[-1].n_bytes
    for kept in free_trees:
        assert all(freed.last_used <= kept.last_used for freed in trees)


@given(candidates, st.floats(0, 1e6))
def test_an_age_takes_all_that_is_older_and_unused(found: list[Candidate], age: float) -> None:
    plan = plan_prune(found, now=1e9, unused_seconds=age)
    for item in found:
        if item.entry:
            assert (item in plan.frees) == (not item.in_use and 1e9 - item.last_used >= age)
        else:
            assert (item in plan.frees) == (not item.in_use and 1e9 - item.last_used >= DAY)


def test_shared_files_are_counted_where_their_last_link_goes(cache: Cache) -> None:
    old = fill(cache, "v1-x", {"a": b"x" * 8192, "own": b"y" * 4096}, used=1.0)
    new = fill(cache, "v2-x", {"b": b"z" * 4096}, used=2.0)
    os.link(old.files / "a", new.files / "a")
    first, second = survey(cache)
    assert (first.entry, second.entry) == (old, new)
    small = fill(cache, "v3-x", {}, used=3.0).folder
    overhead = survey(cache)[2].n_bytes
    assert first.n_bytes - overhead == 4096
    assert second.n_bytes - overhead == 4096 + 8192
    assert small.exists()


def test_prune_gives_back_what_it_said(cache: Cache) -> None:
    fill(cache, "v1-x", {"d/a": b"x" * 8192}, used=1.0)
    kept = fill(cache, "v2-x", {"b": b"z" * 4096})
    plan = plan_prune(survey(cache), now=time.time(), unused_seconds=DAY)
    assert [item.name for item in plan.frees] == ["versions/pets/v1-x"]
    assert prune.prune(cache, plan) == plan.n_bytes
    assert [entry.name for entry in cache.entries()] == [kept.name]


def test_a_tree_that_came_into_use_since_the_plan_stays(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {}, used=1.0)
    plan = plan_prune(survey(cache), now=time.time(), unused_seconds=DAY)
    cache.use(entry)
    prune.prune(cache, plan)
    assert cache.use(entry) is not None


def test_a_killed_prune_is_finished_by_the_next(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"})
    entry.ready.rename(entry.condemned)
    (cache.root / "trash").mkdir(exist_ok=True)
    other = fill(cache, "v2-x", {"a": b"1"})
    other.folder.rename(cache.root / "trash" / "grave")
    plan = plan_prune(survey(cache), now=time.time(), unused_seconds=DAY)
    prune.prune(cache, plan)
    assert not list(cache.entries())
    assert not list((cache.root / "trash").iterdir())


def test_a_killed_prune_of_a_tree_in_use_is_undone(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"})
    cache.use(entry)
    entry.ready.rename(entry.condemned)
    assert condemn(cache, entry) is None
    assert entry.read_ready() is not None


def test_young_attempts_stay_and_old_ones_go(cache: Cache) -> None:
    entry = Entry(cache.root, VERSIONS, "pets", "v1-x")
    attempt = Attempt(cache, entry)
    attempt.keep()
    plan = plan_prune(survey(cache), now=time.time(), max_bytes=0)
    assert [why for _, why in plan.keeps] == ["a resolve can go on with it"]
    plan = plan_prune(survey(cache), now=time.time() + DAY, max_bytes=0)
    assert [item.folder for item in plan.frees] == [attempt.folder]
    prune.prune(cache, plan)
    assert not attempt.folder.exists()


def test_an_attempt_at_work_is_never_taken(cache: Cache) -> None:
    attempt = Attempt(cache, Entry(cache.root, VERSIONS, "pets", "v1-x"))
    plan = plan_prune(survey(cache), now=time.time() + 10 * DAY, max_bytes=0)
    assert not plan.frees
    clear(cache, plan_clear(survey(cache)))
    assert attempt.folder.exists()
    attempt.drop()


def test_clear_takes_all_but_what_is_in_use(cache: Cache) -> None:
    used = fill(cache, "v1-x", {})
    fill(cache, "v2-x", {"a": b"1"})
    cache.point("s", URI, DIGEST)
    cache.use(used)
    plan = plan_clear(survey(cache))
    assert [kept.name for kept, _ in plan.keeps] == ["versions/pets/v1-x"]
    assert clear(cache, plan) >= plan.n_bytes > 0
    assert [entry.name for entry in cache.entries()] == ["v1-x"]
    assert cache.digest_of("s", URI) is None


def test_read_only_folders_and_links_to_folders_are_deleted(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a/b/c": b"1"})
    (entry.files / "loop").symlink_to(entry.files)
    for folder in ("a/b", "a", "."):
        (entry.files / folder).chmod(0o555)
    assert condemn(cache, entry) is not None
    assert not list((cache.root / "trash").iterdir())


# -- after a crash of the machine -------------------------------------------------------------


def test_a_tree_without_tables_fails_the_check_after_a_boot(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"})
    ready = replace(Ready("u", DIGEST, 1, 1), host=leases.this_host(), boot="another")
    entry.ready.write_bytes(ready.to_json())
    assert ready.is_of_earlier_boot
    found = cache.use(entry)
    assert found is not None
    assert check.after_boot(cache, entry, found) is None
    assert not entry.folder.exists()


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


def test_verify_of_an_empty_cache_finds_nothing(cache: Cache) -> None:
    assert check.verify(cache, progress=NoProgress()) == []
