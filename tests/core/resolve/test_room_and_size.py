"""What a resolve does without room, and what it takes of memory and time."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.errors import NoSpaceError
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.resolve import extract, writers
from tests.core.resolve.small_versions import SMALL, get, put
from tests.core.trees import CountingStore, files_of, many_files

# -- room -------------------------------------------------------------------------------------


def test_no_room_is_said_before_anything_is_fetched(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", many_files(100))
    small = Cache(cache.root, max_bytes=10_000)
    with pytest.raises(NoSpaceError, match=r"needs \d\d,\d\d\d bytes.*10,000"):
        get(store, small)
    assert store.n_bytes_read() == 0


def test_the_longest_unused_goes_for_a_new_one(
    store: CountingStore, out: Path, tmp_path: Path
) -> None:
    for name in ("v1", "v2", "v3"):
        put(out, store, name, many_files(30, n_bytes=4000, seed=int(name[1])))
    script = (
        "import sys, pathlib\n"
        "from prefect_datasets.core.resolve.resolve import StoreSpec, resolve_version\n"
        "from prefect_datasets.core.cache.cache import Cache\n"
        "from prefect_datasets.core.uri import DatasetUri\n"
        "cache = Cache(pathlib.Path(sys.argv[2]), max_bytes=330_000)\n"
        "uri = DatasetUri('pets', sys.argv[3])\n"
        "resolve_version(uri, store=StoreSpec(sys.argv[1]), cache=cache)"
    )
    cache = Cache(tmp_path / "cache")
    for name in ("v1", "v2", "v1", "v3"):
        arguments = [store.url, str(cache.root), name]
        subprocess.run([sys.executable, "-c", script, *arguments], check=True)
    assert {entry.name[:2] for entry in cache.entries()} == {"v1", "v3"}


def test_what_is_in_use_is_not_taken_for_a_new_one(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    for name in ("v1", "v2"):
        put(out, store, name, many_files(30, n_bytes=4000, seed=int(name[1])))
    small = Cache(cache.root, max_bytes=230_000)
    tree = get(store, small)
    with pytest.raises(NoSpaceError, match="in use takes"):
        get(store, small, "v2")
    assert tree.path.exists()


def test_a_full_disk_keeps_what_was_fetched(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(mount)], check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount")
    try:
        store = CountingStore(tmp_path / "store", tmp_path / "reads")
        files = {f"f{number}": os.urandom(100_000) for number in range(100)}
        put(out, store, "v1", files)
        cache = Cache(mount / "cache")
        ballast = mount / "ballast"
        monkeypatch.setattr(extract, "make_room", lambda *_: ballast.write_bytes(bytes(14 << 20)))
        with pytest.raises(NoSpaceError, match="The disk is full"):
            get(store, cache, cost=CostModel(request_bytes=400_000))
        ballast.unlink()
        n_before = store.n_bytes_read()
        monkeypatch.setattr(extract, "make_room", lambda *_: None)
        tree = get(store, cache)
        assert files_of(tree.path) == files
        assert store.n_bytes_read() - n_before < 9_000_000
    finally:
        subprocess.run(["umount", str(mount)], check=True)


# -- speed and size ---------------------------------------------------------------------------


def test_a_warm_resolve_takes_less_than_a_few_milliseconds(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", many_files(500))
    get(store, cache)
    times: list[float] = []
    for _ in range(20):
        began = time.perf_counter()
        get(store, cache)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.005


MEMORY = """
import resource, sys
from pathlib import Path
from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.resolve.resolve import StoreSpec, resolve_version
from prefect_datasets.core.uri import DatasetUri
import prefect_datasets.core.resolve.extract, pyarrow.parquet
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store, cache = StoreSpec(sys.argv[1]), Cache(Path(sys.argv[2]))
resolve_version(DatasetUri("pets", "v1"), store=store, cache=cache)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_is_bounded_by_the_reads_in_flight(
    store: CountingStore, out: Path, tmp_path: Path
) -> None:
    files = {f"f{number}": os.urandom(20 << 20) for number in range(12)}
    files |= {f"s{number}": os.urandom(1 << 20) for number in range(60)}
    put(out, store, "v1", files)  # 300 MB
    command = [sys.executable, "-c", MEMORY, store.url, str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert int(done.stdout) < 6 * 2 * 8 + 40


def test_as_many_threads_as_there_may_be_leave_files_to_the_program(
    store: CountingStore, cache: Cache, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may have 1,024 files open as a rule; each thread keeps folders of two trees."""
    monkeypatch.setattr(writers, "_LEAST_FILES", 1 << 40)
    monkeypatch.setattr(extract, "_LOCAL_KINDS", ())
    monkeypatch.setattr(extract, "n_processors", lambda: 64)
    monkeypatch.setattr(extract, "_LINKS_PER_TASK", 4)
    old = {f"{number}/f": b"%d" % number for number in range(3_000)}
    new = {path: path.encode() if int(path[:-2]) % 2 else old[path] for path in old}
    put(out, store, "v1", old)
    put(out, store, "v2", new)
    get(store, cache, "v1")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = sum(1 for _ in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 750, before[1]))
    try:
        tree = get(store, cache, "v2", cost=SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert files_of(tree.path) == new
