"""Killed at any moment, many at once: nobody sees half a tree, and little is fetched twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.cache import attempt as attempts
from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.attempt import Attempt, AttemptLostError, Done, leftovers, turn
from prefect_datasets.core.cache.cache import VERSIONS, Cache, Entry, Ready
from prefect_datasets.core.cache.folders import Folders
from prefect_datasets.core.cache.prune import condemn, plan_prune, prune, survey
from prefect_datasets.core.cache.trash import discard
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.resolve.extract import n_threads
from prefect_datasets.core.resolve.resolve import resolve_version
from prefect_datasets.core.resolve.write_files import Contents
from prefect_datasets.core.resolve.write_files import write_files as write_into
from tests.core.published import Told, publish, uri, write_files
from tests.core.trees import CountingStore, files_of, many_files

ROOT = Path(__file__).parents[2]
READY = Ready("dataset://pets/v1", "d" * 64, 0, 0)

RESOLVE = """
import sys
from pathlib import Path
from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.resolve.resolve import resolve_version
from tests.core.published import uri
from tests.core.trees import CountingStore
store_root, log, cache_root, name, pause = sys.argv[1:]
tree = resolve_version(
    uri(name),
    store=CountingStore(Path(store_root), Path(log), pause=float(pause)),
    cache=Cache(Path(cache_root)),
    cost=CostModel(latency_seconds=0, request_bytes=4096, job_reads=4),
)
n_files = sum(1 for path in tree.path.rglob("*") if path.is_file())
assert n_files == tree.n_files, (n_files, tree)
print(tree.path)
"""


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    (tmp_path / "store").mkdir()
    return CountingStore(tmp_path / "store", tmp_path / "reads")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def entry(cache: Cache) -> Entry:
    return Entry(cache.root, VERSIONS, "pets", "v1-x")


def start(tmp_path: Path, name: str = "v1", *, pause: float = 0.0) -> subprocess.Popen[str]:
    """Resolve in a process of its own, with reads that take a while."""
    places = [str(tmp_path / place) for place in ("store", "reads", "cache")]
    command = [sys.executable, "-c", RESOLVE, *places, name, str(pause)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# -- kill -9 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again_it_still_arrives(
    store: CountingStore, cache: Cache, tmp_path: Path, seed: int
) -> None:
    files = {**many_files(400, n_bytes=900), "large": os.urandom(200_000)}
    record = publish(write_files(tmp_path / "out", files), store, "v1")
    dice = random.Random(seed)
    n_kills = 0
    while True:
        process = start(tmp_path, pause=0.01)
        if not wait_for_reads(store, process, dice.randrange(90)):
            break
        time.sleep(dice.uniform(0, 0.02))
        process.kill()
        process.communicate()
        n_kills += 1
        if list(cache.entries()):  # killed after its last deed
            break
    tree = resolve_version(uri("v1"), store=store, cache=cache)
    assert tree.is_warm
    assert files_of(tree.path) == files
    assert n_kills > 1
    # Each kill costs at most what was in flight: six threads with a request each, and the table.
    n_lost = store.n_bytes_read() - record.n_bytes
    assert n_lost < (n_kills + 1) * 6 * 4096 + 0.2 * record.n_bytes
    prune(cache, plan_prune(survey(cache), now=time.time()))
    assert not list((cache.root / "attempts").rglob("journal"))


def wait_for_reads(store: CountingStore, process: subprocess.Popen[str], n_reads: int) -> bool:
    """Wait until a process has read so often, or has ended."""
    wanted = len(store.reads()) + n_reads
    while process.poll() is None:
        if len(store.reads()) >= wanted:
            return True
        time.sleep(0.002)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return False


def wait_for_attempt(cache: Cache, process: subprocess.Popen[str]) -> bool:
    """Wait until a process has begun to write, or has ended."""
    place = cache.root / "attempts/versions/pets"
    while process.poll() is None:
        for owner in place.glob("*/*/owner"):
            if str(process.pid) in owner.read_text():
                return True
        time.sleep(0.005)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return False


def test_a_resolve_goes_on_where_a_killed_one_was(
    store: CountingStore, cache: Cache, tmp_path: Path
) -> None:
    files = {**many_files(300, n_bytes=900), "z/large": os.urandom(400_000)}
    record = publish(write_files(tmp_path / "out", files), store, "v1")
    with zipfile.ZipFile(tmp_path / "store" / record.packages[0].key) as package:
        n_bytes = package.start_dir  # of all files, with their headers
    process = start(tmp_path, pause=0.05)
    while store.n_bytes_read() < 400_000:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    [left] = leftovers(next(iter_places(cache)))
    assert left.is_dead
    assert left.done.pieces
    before = store.n_bytes_read()
    tree = resolve_version(uri("v1"), store=store, cache=cache, cost=CostModel(request_bytes=4096))
    assert files_of(tree.path) == files
    # What was under way at the kill is read again: a request of each thread.
    assert store.n_bytes_read() - before <= n_bytes - before + n_threads(store) * 4096


def iter_places(cache: Cache) -> Iterator[Entry]:
    """Yield the places of all attempts."""
    for name in (cache.root / "attempts/versions/pets").iterdir():
        yield Entry(cache.root, VERSIONS, "pets", name.name)


def test_a_kill_while_linking_loses_nothing(
    store: CountingStore, cache: Cache, tmp_path: Path
) -> None:
    files = many_files(300)
    publish(write_files(tmp_path / "one", files), store, "v1")
    publish(write_files(tmp_path / "two", {**files, "new": b"n" * 100}), store, "v2")
    resolve_version(uri("v1"), store=store, cache=cache)
    before = store.n_bytes_read()
    process = start(tmp_path, "v2", pause=0.3)
    wait_for_attempt(cache, process)
    time.sleep(0.1)
    process.kill()
    process.communicate()
    tree = resolve_version(uri("v2"), store=store, cache=cache)
    assert files_of(tree.path) == {**files, "new": b"n" * 100}
    assert store.n_bytes_read() - before <= 200


# -- many at once -----------------------------------------------------------------------------


def test_eight_at_once_fetch_once(store: CountingStore, cache: Cache, tmp_path: Path) -> None:
    files = many_files(300, n_bytes=900)
    record = publish(write_files(tmp_path / "out", files), store, "v1")
    processes = [start(tmp_path, pause=0.02) for _ in range(8)]
    outcomes = [process.communicate() for process in processes]
    assert {process.returncode for process in processes} == {0}, outcomes
    [entry] = cache.entries()
    assert {path.strip() for path, _ in outcomes} == {str(entry.files)}
    assert files_of(entry.files) == files
    n_reads = sum(read.length for read in store.reads() if not read.key.endswith(".parquet"))
    assert n_reads < 1.3 * record.n_bytes


def test_where_locks_do_nothing_it_is_right_all_the_same(
    store: CountingStore, tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(attempts, "_try_lock", lambda _: True)
    files = many_files(200)
    publish(write_files(tmp_path / "out", files), store, "v1")
    slow = CountingStore(tmp_path / "store", tmp_path / "reads", pause=0.05)

    def resolve(_: int) -> Path:
        cost = CostModel(request_bytes=8192)
        return resolve_version(uri("v1"), store=slow, cache=cache, cost=cost).path

    with ThreadPoolExecutor(6) as pool:
        paths = set(pool.map(resolve, range(6)))
    assert len(paths) == 1
    assert files_of(paths.pop()) == files


def test_who_waits_for_a_stuck_one_goes_on_alone(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_PATIENCE_SECONDS", 0.2)
    with turn(entry):
        began = time.monotonic()
        with turn(entry):
            assert 0.1 < time.monotonic() - began < 5


def test_who_waits_goes_on_when_the_tree_is_there(cache: Cache, entry: Entry) -> None:
    with turn(entry):
        attempt = Attempt(cache, entry)
        assert attempt.publish(READY)
        with turn(entry):
            assert entry.read_ready() is not None


# -- attempts ---------------------------------------------------------------------------------


def test_nothing_is_visible_before_publish(cache: Cache, entry: Entry) -> None:
    attempt = Attempt(cache, entry)
    (attempt.files / "a").write_bytes(b"1")
    assert not entry.folder.exists()
    assert attempt.publish(READY)
    assert files_of(entry.files) == {"a": b"1"}
    assert sorted(item.name for item in entry.folder.iterdir()) == [
        "files",
        "leases",
        "parts",
        "ready",
    ]
    assert entry.is_in_use()


def test_the_second_to_publish_drops_its_own(cache: Cache, entry: Entry) -> None:
    first, second = Attempt(cache, entry), Attempt(cache, entry)
    (first.files / "a").write_bytes(b"1")
    (second.files / "a").write_bytes(b"1")
    assert first.publish(READY)
    assert not second.publish(READY)
    assert not second.folder.exists()
    assert files_of(entry.files) == {"a": b"1"}


def test_a_wreck_in_the_place_is_cleared(cache: Cache, entry: Entry) -> None:
    (entry.files).mkdir(parents=True)
    (entry.files / "half").write_bytes(b"h")
    attempt = Attempt(cache, entry)
    (attempt.files / "a").write_bytes(b"1")
    assert attempt.publish(READY)
    assert files_of(entry.files) == {"a": b"1"}


def test_a_tree_that_a_killed_prune_condemned_comes_back_if_it_is_used(
    cache: Cache, entry: Entry
) -> None:
    first = Attempt(cache, entry)
    (first.files / "a").write_bytes(b"1")
    first.publish(READY)
    entry.ready.rename(entry.condemned)
    second = Attempt(cache, entry)
    assert not second.publish(READY)
    assert files_of(entry.files) == {"a": b"1"}
    assert condemn(cache, entry) is None


def test_an_attempt_that_vanished_says_so(cache: Cache, entry: Entry) -> None:
    attempt = Attempt(cache, entry)
    discard(cache.root, attempt.folder)
    assert attempt.is_lost()
    with pytest.raises((AttemptLostError, FileNotFoundError)):
        attempt.publish(READY)
    attempt.keep()


def test_a_deleted_attempt_begins_again(store: CountingStore, cache: Cache, tmp_path: Path) -> None:
    files = many_files(200)
    publish(write_files(tmp_path / "out", files), store, "v1")

    class Vandal(CountingStore):
        n_left = 2

        def read_range(self, key: str, start: int, length: int) -> memoryview:
            if key.endswith("zip") and Vandal.n_left:
                Vandal.n_left -= 1
                for owner in (cache.root / "attempts").rglob("owner"):
                    discard(cache.root, owner.parent)
            return super().read_range(key, start, length)

    told = Told()
    vandal = Vandal(tmp_path / "store", tmp_path / "reads")
    tree = resolve_version(uri("v1"), store=vandal, cache=cache, progress=told)
    assert files_of(tree.path) == files
    assert "beginning again" in told.warnings[0]


def test_an_attempt_s_life_is_that_of_its_process(cache: Cache, entry: Entry) -> None:
    mine, other = Attempt(cache, entry), Attempt(cache, entry)
    [left] = leftovers(entry, mine=mine.folder)
    assert (left.folder, left.is_dead) == (other.folder, False)
    other.keep()
    [left] = leftovers(entry, mine=mine.folder)
    assert left.is_dead
    attempts.sweep(cache, entry)
    assert attempts.attempt_folders(entry.attempts) == [mine.folder]
    mine.drop()
    attempts.sweep(cache, entry)
    assert not entry.attempts.exists()


def test_the_journal_is_read_back(cache: Cache, entry: Entry) -> None:
    attempt = Attempt(cache, entry)
    attempt.note_rows(0, [(0, 5), (7, 9)])
    attempt.note_piece(1, 3, 4096, 100)
    attempt.keep()
    [left] = leftovers(entry)
    assert left.done.rows == {0: [(0, 5), (7, 9)]}
    assert left.done.pieces == {(1, 3): {(4096, 100)}}


@given(st.integers(0, 60))
def test_a_torn_last_line_says_nothing(cut: int) -> None:
    text = "rows 0 10 200\nrows 0 300 4000\npiece 1 2 0 8192\n"
    done = Done.parse(text[:cut])
    assert dict(done.rows[0]).items() <= {10: 200, 300: 4000}.items()
    assert done.pieces[1, 2] <= {(0, 8192)}


@pytest.mark.parametrize("is_same_machine", [True, False])
def test_a_journal_from_before_a_crash_of_the_machine_is_not_believed(
    cache: Cache, entry: Entry, monkeypatch: pytest.MonkeyPatch, is_same_machine: bool
) -> None:
    attempt = Attempt(cache, entry)
    attempt.note_rows(0, [(0, 5)])
    attempt.keep()
    monkeypatch.setattr(leases, "this_boot", lambda: "a later one")
    if not is_same_machine:
        monkeypatch.setattr(leases, "this_host", lambda: "another")
    [left] = leftovers(entry)
    assert bool(left.done.rows) is not is_same_machine


def test_names_that_a_file_system_takes_for_one_are_an_error(cache: Cache, entry: Entry) -> None:
    attempt = Attempt(cache, entry)
    twice = Contents(["a/x", "a/x"], [0, 0], [1, 1], None, None)
    with (
        Folders(attempt.files, make=True) as folders,
        pytest.raises(InvalidInputError, match="takes for one") as caught,
    ):
        write_into(twice, memoryview(b"1"), folders, attempt.files)
    assert "a/x" in caught.value.subject
    attempt.drop()


def test_nothing_is_written_through_a_link_out_of_the_tree(
    cache: Cache, entry: Entry, tmp_path: Path
) -> None:
    attempt = Attempt(cache, entry)
    (attempt.files / "out").symlink_to(tmp_path)
    (attempt.files / "file").symlink_to(tmp_path / "target")
    for path in ("out/x", "file"):
        contents = Contents([path], [0], [1], None, None)
        with Folders(attempt.files, make=True) as folders, pytest.raises(InvalidInputError):
            write_into(contents, memoryview(b"1"), folders, attempt.files)
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "target").exists()
    attempt.drop()


def test_leases_of_a_published_tree_are_this_process_s(cache: Cache, entry: Entry) -> None:
    Attempt(cache, entry).publish(READY)
    [lease] = entry.leases.iterdir()
    assert lease.name == leases.lease_name(leases.this_process())
    leases.give_back(lease)
    assert not entry.is_in_use()
