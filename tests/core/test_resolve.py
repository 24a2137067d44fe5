"""From a URI to a folder: cold, warm, changed, selected, damaged, out of room."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.core.cache import check
from prefect_datasets.core.cache.cache import Cache, Selection
from prefect_datasets.core.cache.prune import clear, plan_clear, survey
from prefect_datasets.core.errors import (
    IntegrityError,
    InvalidInputError,
    NoSpaceError,
    NotFoundError,
    StoreError,
)
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.progress import NoProgress
from prefect_datasets.core.publish.publish import Policy, package_version
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.resolve import extract, writers
from prefect_datasets.core.resolve.inputs import ResolvedInput, resolve_input
from prefect_datasets.core.resolve.resolve import Tree, resolve_version
from prefect_datasets.core.store import open_store
from prefect_datasets.core.store_spec import StoreSpec
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog, deletion
from tests.core.published import Told, publish, uri, write_files
from tests.core.trees import CountingStore, files_of, many_files, overwrite, truncate

FILES = {
    "a/one": b"1" * 1000,
    "a/two": b"2" * 2000,
    "b/deep/er/three": b"3" * 10,
    "empty": b"",
    "b/\\odd:name é": b"x",
}
SMALL = CostModel(latency_seconds=0, request_bytes=4096, job_reads=8)


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes write the few files as well."""
    monkeypatch.setattr(writers, "_LEAST_FILES", 0)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    (tmp_path / "store").mkdir()
    return CountingStore(tmp_path / "store", tmp_path / "reads")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def put(
    out: Path, store: CountingStore, name: str, files: dict[str, bytes], **rest: Any
) -> VersionRecord:
    """Publish exactly these files as a version."""
    folder = out / uuid.uuid4().hex
    return publish(write_files(folder, files), store, name, **rest)


def get(store: CountingStore, cache: Cache, name: str = "v1", **rest: Any) -> Tree:
    return resolve_version(uri(name), store=store, cache=cache, **rest)


# -- cold and warm ----------------------------------------------------------------------------


@pytest.mark.parametrize("packaging", [True, False])
def test_a_version_becomes_a_folder(
    store: CountingStore, cache: Cache, out: Path, packaging: bool
) -> None:
    record = put(out, store, "v1", FILES, packaging=packaging)
    tree = get(store, cache, cost=SMALL)
    assert files_of(tree.path) == FILES
    assert (tree.uri, tree.digest, tree.is_warm) == (record.uri, record.digest, False)
    assert (tree.n_files, tree.n_bytes) == (len(FILES), sum(map(len, FILES.values())))
    assert tree.n_fetched_bytes >= tree.n_bytes


def test_the_second_time_nothing_is_read(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", FILES)
    first = get(store, cache)
    n_reads = len(store.reads())
    second = get(store, cache)
    assert len(store.reads()) == n_reads
    assert (second.path, second.is_warm, second.n_fetched_bytes) == (first.path, True, 0)


def test_a_warm_resolve_does_not_open_the_store(cache: Cache, out: Path, tmp_path: Path) -> None:
    spec = StoreSpec(str(tmp_path / "store"))
    publish(write_files(out, FILES), spec.open(), "v1")
    resolve_version(uri("v1"), store=spec, cache=cache)
    script = (
        "import sys, pathlib, time\n"
        "from prefect_datasets.core.resolve.inputs import resolve_input\n"
        "from prefect_datasets.core.resolve.resolve import StoreSpec\n"
        "from prefect_datasets.core.cache.cache import Cache\n"
        f"store = StoreSpec({str(tmp_path / 'store')!r})\n"
        f"cache = Cache(pathlib.Path({str(cache.root)!r}))\n"
        "found = resolve_input(['dataset://pets/v1'], store=store, cache=cache)\n"
        "assert found.is_warm\n"
        "print(sorted({'pyarrow', 'numpy', 'fsspec', 'obstore'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_latest_and_aliases_are_asked_of_the_store(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", FILES, aliases=("best",))
    assert get(store, cache, "latest").uri == uri("v1")
    put(out, store, "v2", {"x": b"1"})
    assert get(store, cache, "latest").uri == uri("v2")
    assert get(store, cache, "best").uri == uri("v1")
    catalog.move_alias(store, uri("v2"), "best")
    assert get(store, cache, "best").uri == uri("v2")


def test_a_local_store_that_was_filled_anew_is_noticed(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path
) -> None:
    put(out, store, "v1", {"x": b"old"})
    get(store, cache)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "store").mkdir()
    put(out, store, "v1", {"x": b"new"})
    assert files_of(get(store, cache).path) == {"x": b"new"}


def test_a_deleted_version_is_not_found(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", FILES)
    get(store, cache)
    deletion.delete(store, deletion.plan_delete(store, uri("v1")))
    with pytest.raises(NotFoundError, match="No such dataset version"):
        get(store, cache)


def test_a_version_without_files_is_an_empty_folder(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", {"x": b""})
    put(out, store, "v2", {"y": b""}, base=uri("v1"), exclude=("x",))
    assert files_of(get(store, cache, "v2").path) == {"y": b""}


def test_the_tree_is_read_only(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", FILES)
    path = get(store, cache).path
    modes = {stat.S_IMODE(item.stat().st_mode) for item in path.rglob("*") if item.is_file()}
    assert modes == {0o444}
    folders = {stat.S_IMODE(item.stat().st_mode) for item in path.rglob("*") if item.is_dir()}
    assert folders == {0o555}
    assert stat.S_IMODE(path.stat().st_mode) == 0o555


def test_many_parts_make_one_tree(store: CountingStore, cache: Cache, out: Path) -> None:
    files = many_files(300)
    record = put(out, store, "v1", files, policy=Policy(max_package_bytes=9_000))
    assert len(record.parts) > 5
    assert files_of(get(store, cache, cost=SMALL).path) == files


def test_packages_made_after_the_fact_are_read(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    files = many_files(100)
    put(out, store, "v1", files, packaging=False)
    package_version(uri("v1"), store=store)
    n_before = len(store.reads())
    assert files_of(get(store, cache).path) == files
    assert all(read.key.endswith(".vhpkgzip") for read in store.reads()[n_before:])


def test_a_file_above_a_request_is_read_in_pieces(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    files = {"large": os.urandom(50_000), "small": b"s", "larger/still": os.urandom(81_921)}
    put(out, store, "v1", files)
    assert files_of(get(store, cache, cost=SMALL).path) == files
    assert max(read.length for read in store.reads()) <= SMALL.request_bytes


@pytest.mark.parametrize("server", ["ministack", "fake_gcs"])
def test_a_version_comes_from_a_real_server(
    request: pytest.FixtureRequest, cache: Cache, out: Path, fresh_prefix: str, server: str
) -> None:
    served = request.getfixturevalue(server)
    store = open_store(f"{served.url}/{fresh_prefix}", served.options)
    files = {**many_files(200), "large": os.urandom(900_000)}
    publish(write_files(out, files), store, "v1")
    cost = CostModel(request_bytes=1 << 18)
    tree = resolve_version(uri("v1"), store=store, cache=cache, cost=cost)
    assert files_of(tree.path) == files


# -- changes ----------------------------------------------------------------------------------


def test_a_new_version_fetches_only_its_changes(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    files = many_files(200, n_bytes=2000)
    put(out, store, "v1", files)
    get(store, cache)
    changed = {**files, "d0/sub0/f00000": b"n" * 1500, "new": b"m" * 1500}
    del changed["d1/sub1/f00001"]
    changed["renamed"] = changed.pop("d2/sub2/f00002")
    put(out, store, "v2", changed)
    before = store.n_bytes_read()
    tree = get(store, cache, "v2", cost=CostModel(latency_seconds=0))
    assert files_of(tree.path) == changed
    assert store.n_bytes_read() - before == 3000
    assert tree.n_linked_files == len(changed) - 2


def test_far_from_its_neighbours_a_file_is_read_as_an_object_of_its_own(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    files = many_files(300)
    put(out, store, "v1", files)
    get(store, cache)
    changed = {name: b"new " + name.encode() for name in sorted(files)[::4]}
    changed |= {name: b"near " + name.encode() for name in sorted(files)[4:8]}
    put(out, store, "v2", {**files, **changed})
    n_before = len(store.reads())
    tree = get(store, cache, "v2", cost=CostModel(latency_seconds=100 / 125e6, reads_at_once=1))
    assert files_of(tree.path) == {**files, **changed}
    reads = [read for read in store.reads()[n_before:] if not read.key.endswith(".parquet")]
    packages = [read for read in reads if read.key.endswith("zip")]
    assert len(packages) == 1
    assert {read.length for read in reads} - {packages[0].length} == {
        len(content) for content in changed.values() if content.startswith(b"new")
    }


def test_a_linked_tree_outlives_the_one_it_was_linked_from(
    store: CountingStore, out: Path, tmp_path: Path
) -> None:
    files = many_files(50)
    put(out, store, "v1", files)
    put(out, store, "v2", {**files, "new": b"1"})
    script = (
        "import sys, pathlib\n"
        "from prefect_datasets.core.resolve.resolve import StoreSpec, resolve_version\n"
        "from prefect_datasets.core.cache.cache import Cache\n"
        "from prefect_datasets.core.uri import DatasetUri\n"
        "cache = Cache(pathlib.Path(sys.argv[2]))\n"
        "uri = DatasetUri('pets', sys.argv[3])\n"
        "resolve_version(uri, store=StoreSpec(sys.argv[1]), cache=cache)"
    )
    arguments = [sys.executable, "-c", script, store.url, str(tmp_path / "cache")]
    for name in ("v1", "v2"):
        subprocess.run([*arguments, name], check=True)
    cache = Cache(tmp_path / "cache")
    tree = get(store, cache, "v2")
    plan = plan_clear(survey(cache))
    assert len(plan.keeps) == 1
    clear(cache, plan)
    assert files_of(tree.path) == {**files, "new": b"1"}


def test_a_source_that_lost_files_is_made_up_for(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    files = many_files(60)
    put(out, store, "v1", files)
    path = get(store, cache).path
    put(out, store, "v2", {**files, "new": b"1"})
    for name in list(files)[:10]:
        (path / name).parent.chmod(0o755)
        (path / name).unlink()
    assert files_of(get(store, cache, "v2").path) == {**files, "new": b"1"}


# -- selections -------------------------------------------------------------------------------


@pytest.mark.parametrize("max_package_bytes", [1 << 30, 5_000])
def test_shards_are_disjoint_and_complete(
    store: CountingStore, cache: Cache, out: Path, max_package_bytes: int
) -> None:
    files = many_files(150)
    put(out, store, "v1", files, policy=Policy(max_package_bytes=max_package_bytes))
    found: dict[str, bytes] = {}
    for k in range(4):
        shard = files_of(get(store, cache, selection=Selection(shard=(k, 4))).path)
        assert not found.keys() & shard.keys()
        assert len(shard) > 20
        found |= shard
    assert found == files


def test_a_shard_fetches_its_share_only(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", many_files(400), policy=Policy(max_package_bytes=5_000))
    tree = get(store, cache, selection=Selection(shard=(2, 8)))
    tables = {read.key for read in store.reads() if read.key.endswith(".parquet")}
    assert store.n_bytes_read() < 1.5 * tree.n_bytes
    assert len(tables) < 8


def test_include_fetches_what_it_names(store: CountingStore, cache: Cache, out: Path) -> None:
    files = many_files(100)
    put(out, store, "v1", files)
    tree = get(store, cache, selection=Selection(include=("d3/**",)))
    assert files_of(tree.path) == {k: v for k, v in files.items() if k.startswith("d3/")}
    whole = get(store, cache)
    assert whole.n_linked_files == tree.n_files
    assert files_of(whole.path) == files


def test_shards_of_a_selection_divide_the_selection(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    files = many_files(300)
    put(out, store, "v1", files, policy=Policy(max_package_bytes=20_000))
    wanted = {k: v for k, v in files.items() if k.startswith("d3/")}
    shards = [
        files_of(get(store, cache, selection=Selection(include=("d3/*/*",), shard=(k, 3))).path)
        for k in range(3)
    ]
    assert {key for shard in shards for key in shard} == set(wanted)
    assert sum(map(len, shards)) == len(wanted)
    assert all(len(shard) > 5 for shard in shards)


def test_a_selection_of_nothing_says_so(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", FILES)
    with pytest.raises(NotFoundError, match=r"No file matches \*\.jpg"):
        get(store, cache, selection=Selection(include=("*.jpg",)))


# -- damage -----------------------------------------------------------------------------------


def test_a_corrupt_range_comes_from_the_single_objects(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    files = many_files(100)
    record = put(out, store, "v1", files)
    overwrite(store, record.packages[0].key, 5_000, bytes(3_000))
    told = Told()
    assert files_of(get(store, cache, progress=told).path) == files
    [warning] = told.warnings
    assert record.packages[0].key in warning


@pytest.mark.parametrize("kept_bytes", [0, 10_000])
def test_a_truncated_package_comes_from_the_single_objects(
    store: CountingStore, cache: Cache, out: Path, kept_bytes: int
) -> None:
    files = many_files(100)
    record = put(out, store, "v1", files)
    truncate(store, record.packages[0].key, kept_bytes)
    assert files_of(get(store, cache).path) == files


def test_a_missing_package_comes_from_the_single_objects(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    files = {**many_files(100), "large": os.urandom(20_000)}
    record = put(out, store, "v1", files)
    store.delete([record.packages[0].key])
    assert files_of(get(store, cache, cost=SMALL).path) == files


def test_a_replaced_package_can_not_be_spliced_in(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    files = many_files(100)
    record = put(out, store, "v1", files)
    other = put(out, store, "v2", many_files(100, seed=1))
    store.copy(other.packages[0].key, record.packages[0].key)
    assert files_of(get(store, cache).path) == files


def test_a_large_file_that_is_damaged_comes_from_its_own_object(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    files = {"large": os.urandom(50_000)}
    record = put(out, store, "v1", files)
    overwrite(store, record.packages[0].key, 30_000, b"damaged")
    assert files_of(get(store, cache, cost=SMALL).path) == files


@pytest.mark.parametrize("name", ["large", "d0/sub0/f00000"])
def test_damage_in_both_copies_names_file_and_package(
    store: CountingStore, cache: Cache, out: Path, name: str
) -> None:
    files = {**many_files(50), "large": os.urandom(9_000)}
    record = put(out, store, "v1", files)
    key = f"outputs/{record.execution}/files/{name}"
    overwrite(store, key, 0, b"damaged")
    package = store.read(record.packages[0].key)
    overwrite(store, record.packages[0].key, package.index(files[name][:60]), b"damaged")
    with pytest.raises(IntegrityError, match="damaged or missing") as caught:
        get(store, cache, cost=SMALL)
    assert name in caught.value.subject
    assert record.packages[0].key in caught.value.subject


@pytest.mark.parametrize("name", ["d0/sub0/f00000", "large"])
def test_a_version_in_packages_alone_has_no_second_copy(
    store: CountingStore, cache: Cache, out: Path, name: str
) -> None:
    files = {**many_files(50), "large": os.urandom(9_000)}
    record = put(out, store, "v1", files, policy=Policy(individual_files=False))
    assert files_of(get(store, Cache(cache.root / "other"), cost=SMALL).path) == files
    package = store.read(record.packages[0].key)
    overwrite(store, record.packages[0].key, package.index(files[name][:60]), b"damaged")
    with pytest.raises(IntegrityError, match="in every copy") as caught:
        get(store, cache, cost=SMALL)
    assert name in caught.value.subject


def test_a_request_that_fails_once_is_made_again_as_it_was(
    store: CountingStore, cache: Cache, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = many_files(100, n_bytes=500)
    record = put(out, store, "v1", files)
    read_range = CountingStore.read_range
    failures = [StoreError("Timed out")]

    def fail_once(self: CountingStore, key: str, start: int, length: int) -> memoryview:
        data = read_range(self, key, start, length)
        if failures:
            raise failures.pop()
        return data

    monkeypatch.setattr(CountingStore, "read_range", fail_once)
    told = Told()
    tree = resolve_version(uri("v1"), store=store, cache=cache, progress=told)
    assert files_of(tree.path) == files
    assert [read.key for read in store.reads()] == [record.packages[0].key] * 2
    assert not told.warnings


def test_a_store_that_fails_is_worth_a_retry_and_what_was_fetched_is_kept(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    record = put(out, store, "v1", many_files(50), policy=Policy(individual_files=False))
    store.fail[record.packages[0].key] = StoreError("Timed out")
    with pytest.raises(StoreError, match="Timed out") as caught:
        get(store, cache)
    assert caught.value.retryable
    store.fail.clear()
    assert get(store, cache).n_files == 50


@pytest.mark.parametrize("damage", ["gone", "other"])
def test_a_table_that_is_gone_or_another_is_an_error(
    store: CountingStore, cache: Cache, out: Path, damage: str
) -> None:
    record = put(out, store, "v1", FILES)
    table = record.parts[0].table
    if damage == "gone":
        store.delete([table])
        with pytest.raises(NotFoundError, match="table of a committed version is gone"):
            get(store, cache)
    else:
        overwrite(store, table, 10, b"x")
        with pytest.raises(IntegrityError, match="not the one that was committed"):
            get(store, cache)
    assert not list(cache.entries())


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


# -- checking ---------------------------------------------------------------------------------


def test_verify_names_every_fault(store: CountingStore, cache: Cache, out: Path) -> None:
    files = many_files(40)
    put(out, store, "v1", files)
    path = get(store, cache).path
    assert check.verify(cache, progress=NoProgress()) == []
    changed, missing, shorter = list(files)[:3]
    for name in (changed, missing, shorter):
        (path / name).parent.chmod(0o755)
        (path / name).chmod(0o644)
    (path / changed).write_bytes(files[changed][::-1])
    (path / missing).unlink()
    os.truncate(path / shorter, 3)
    (path / changed).with_name("extra").touch()
    found = {(fault.path, fault.what) for fault in check.verify(cache, progress=NoProgress())}
    assert found == {
        (changed, "other content"),
        (missing, "missing"),
        (shorter, f"3 bytes instead of {len(files[shorter])}"),
    }


def test_repair_leaves_what_is_in_use(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", FILES)
    path = get(store, cache).path
    (path / "a").chmod(0o755)
    (path / "a/one").unlink()
    told = Told()
    assert check.verify(cache, repair=True, progress=told)
    assert path.exists()
    assert "in use" in told.warnings[0]


# -- inputs -----------------------------------------------------------------------------------


def take(store: CountingStore, cache: Cache, *uris: str, **rest: Any) -> ResolvedInput:
    return resolve_input(uris, store=store, cache=cache, **rest)


def test_one_version_is_its_tree(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", FILES)
    found = take(store, cache, "dataset://pets/v1")
    assert found.path == get(store, cache).path == found.trees[0].path
    assert (found.n_files, found.is_warm) == (len(FILES), False)


def test_a_target_is_a_link_to_the_tree(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path
) -> None:
    put(out, store, "v1", FILES)
    for target in (tmp_path / "new/place", tmp_path / "there"):
        if target.name == "there":
            target.mkdir()
        found = take(store, cache, "dataset://pets/v1", target=target)
        assert found.path == target
        assert target.is_symlink()
        assert files_of(target.resolve()) == FILES


@pytest.mark.parametrize("link", ["symlink", "hardlink", "copy"])
def test_a_target_that_is_taken_is_refused(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path, link: str
) -> None:
    put(out, store, "v1", FILES)
    taken = write_files(tmp_path / "taken", {"x": b"1"})
    for target in (taken, taken / "x"):
        with pytest.raises(InvalidInputError, match="is there already"):
            take(store, cache, "dataset://pets/v1", target=target, link=link)
    assert files_of(taken) == {"x": b"1"}


def test_a_copy_can_be_written_to_and_a_hard_link_can_not(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path
) -> None:
    put(out, store, "v1", FILES)
    uri_ = "dataset://pets/v1"
    linked = take(store, cache, uri_, target=tmp_path / "linked", link="hardlink").path
    copied = take(store, cache, uri_, target=tmp_path / "copied", link="copy").path
    tree = get(store, cache).path
    assert files_of(linked) == files_of(copied) == FILES
    assert (linked / "a/one").stat().st_ino == (tree / "a/one").stat().st_ino
    assert stat.S_IMODE((linked / "a/one").stat().st_mode) == 0o444
    (copied / "a/one").write_bytes(b"changed")
    (copied / "a/new").touch()
    assert files_of(tree) == FILES


def test_copies_without_a_target_are_one_s_own(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", FILES)
    one, other = (take(store, cache, "dataset://pets/v1", link="copy").path for _ in range(2))
    (one / "a/one").write_bytes(b"changed")
    assert files_of(other) == FILES


@pytest.mark.parametrize("link", ["symlink", "hardlink", "copy"])
def test_a_target_below_a_file_is_refused_before_anything_is_fetched(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path, link: str
) -> None:
    put(out, store, "v1", FILES)
    write_files(tmp_path, {"x": b"1"})
    with pytest.raises(InvalidInputError, match=f"no folder.*: {tmp_path}/x"):
        take(store, cache, "dataset://pets/v1", target=tmp_path / "x/new/place", link=link)
    assert not cache.root.exists()


def test_a_cache_that_is_a_file_is_the_callers_fault(
    store: CountingStore, out: Path, tmp_path: Path
) -> None:
    put(out, store, "v1", FILES)
    write_files(tmp_path, {"x": b"1"})
    for root in (tmp_path / "x", tmp_path / "x/sub"):
        with pytest.raises(InvalidInputError, match=r"can't be used \(Not a directory\)") as caught:
            get(store, Cache(root))
        assert caught.value.subject == str(root)


@pytest.mark.parametrize("link", ["hardlink", "copy"])
def test_a_tree_that_lacks_a_file_is_not_passed_on(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path, link: str
) -> None:
    put(out, store, "v1", FILES)
    folder = get(store, cache).path / "a"
    folder.chmod(0o755)
    (folder / "one").unlink()
    with pytest.raises(IntegrityError, match="4 of 5 files"):
        take(store, cache, "dataset://pets/v1", target=tmp_path / "target", link=link)
    assert not list(tmp_path.glob("*target*"))


@pytest.mark.parametrize("ready", [b"", b"garbage", b"[]"])
def test_a_tree_whose_ready_is_damaged_is_made_anew(
    store: CountingStore, cache: Cache, out: Path, ready: bytes
) -> None:
    put(out, store, "v1", FILES)
    tree = get(store, cache).path
    (tree.parent / "ready").write_bytes(ready)
    assert files_of(get(store, cache).path) == FILES
    assert get(store, cache).is_warm


def test_a_tree_whose_files_were_deleted_is_made_anew(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", FILES)
    tree = get(store, cache).path
    tree.rename(out / "elsewhere")
    assert files_of(get(store, cache).path) == FILES


def test_a_damaged_table_in_the_cache_is_not_linked_from(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", FILES)
    tree = get(store, cache).path
    (tree.parent / "parts/0.parquet").write_bytes(b"garbage")
    (fault,) = check.verify(cache, progress=NoProgress())
    assert fault.what == "Its table can't be read (0.parquet)"
    part = get(store, cache, selection=Selection(include=("a/*",)))
    assert files_of(part.path) == {"a/one": FILES["a/one"], "a/two": FILES["a/two"]}


def test_include_and_shard_are_refused_where_they_would_be_ignored(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", FILES)
    with pytest.raises(InvalidInputError, match="among the files of a version"):
        take(store, cache, f"{store.url}/**", selection=Selection(shard=(0, 2)))


def test_a_url_that_ends_with_a_slash_is_no_object(store: CountingStore, cache: Cache) -> None:
    store.write("in/a.txt", b"1")
    for url in (f"{store.url}/in/", "memory://bucket/in/", "memory://bucket"):
        with pytest.raises((NotFoundError, InvalidInputError), match=r"No such object|Not a URL"):
            take(store, cache, url)


def test_after_a_failure_there_is_no_target(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path
) -> None:
    put(out, store, "v1", {"a/x": b"1", "b/x": b"2"})
    for link in ("symlink", "hardlink", "copy"):
        with pytest.raises(InvalidInputError, match="Two files would both be 'x'") as caught:
            take(
                store,
                cache,
                "dataset://pets/v1",
                target=tmp_path / "target",
                link=link,
                keep_directories="none",
            )
        assert "a/x" in str(caught.value)
        assert "b/x" in str(caught.value)
    assert not list(tmp_path.glob("*target*"))


def test_several_versions_share_a_folder(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", {"a/x": b"1"})
    put(out, store, "v2", {"a/y": b"2", "z": b"3"})
    found = take(store, cache, "dataset://pets/v1", "dataset://pets/v2")
    assert files_of(found.path) == {"a/x": b"1", "a/y": b"2", "z": b"3"}
    again = take(store, cache, "dataset://pets/v1", "dataset://pets/v2")
    assert (again.path, again.is_warm) == (found.path, True)


def test_a_file_where_another_has_a_folder_is_refused(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", {"a": b"1"})
    put(out, store, "v2", {"a/y": b"2"})
    with pytest.raises(InvalidInputError, match="Two files would both be 'a'"):
        take(store, cache, "dataset://pets/v1", "dataset://pets/v2")


def test_flat_inputs(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", {"a/x": b"1", "b/c/y": b"2"})
    found = take(store, cache, "dataset://pets/v1", keep_directories="none")
    assert files_of(found.path) == {"x": b"1", "y": b"2"}


def test_a_datum_is_a_file(store: CountingStore, cache: Cache, out: Path) -> None:
    from prefect_datasets.core.format.rows import datum_id

    record = put(out, store, "v1", FILES, policy=Policy(individual_files=False))
    datum = datum_id(record.execution, "a/one")
    found = take(store, cache, f"datum://{datum}", keep_directories="suffix")
    assert files_of(found.path) == {"one": FILES["a/one"]}
    assert take(store, cache, f"datum://{datum}", keep_directories="suffix").is_warm


@pytest.mark.parametrize(
    ("pattern", "keep", "expected"),
    [
        ("*.txt", "suffix", {"r.txt"}),
        ("in/*.txt", "none", {"a.txt"}),
        ("in/**.txt", "suffix", {"a.txt", "deep/b.txt"}),
        ("in/**/*.txt", "none", {"a.txt", "b.txt"}),
        ("in/deep/b.txt", "none", {"b.txt"}),
    ],
)
def test_plain_urls_with_wildcards(
    store: CountingStore,
    cache: Cache,
    tmp_path: Path,
    pattern: str,
    keep: Any,
    expected: set[str],
) -> None:
    files = {"r.txt": b"r", "in/a.txt": b"a", "in/deep/b.txt": b"b", "in/c.csv": b"c"}
    root = write_files(tmp_path / "plain", files)
    found = take(store, cache, f"file://{root}/{pattern}", keep_directories=keep)
    assert set(files_of(found.path)) == expected


def test_a_changed_object_is_fetched_again_and_only_that(
    store: CountingStore, cache: Cache, tmp_path: Path
) -> None:
    root = write_files(tmp_path / "plain", {"a": b"1" * 100, "b": b"2" * 100})
    url = f"file://{root}/*"
    assert take(store, cache, url).n_fetched_bytes == 200
    assert take(store, cache, url).is_warm
    (root / "a").write_bytes(b"3" * 100)
    os.utime(root / "a", (1, 1))
    found = take(store, cache, url)
    assert found.n_fetched_bytes == 100
    assert files_of(found.path) == {"a": b"3" * 100, "b": b"2" * 100}


@pytest.mark.parametrize(
    ("url", "error", "match"),
    [
        ("file://{}/none", NotFoundError, "No such object"),
        ("file://{}/*.none", NotFoundError, "None of 1 objects matches"),
        ("nonsense", InvalidInputError, "Not a URL"),
        ("datum://unknown", NotFoundError, "No such datum alias"),
        ("dataset://pets", InvalidInputError, "Not a dataset version URI"),
    ],
)
def test_uris_that_name_nothing(
    store: CountingStore,
    cache: Cache,
    tmp_path: Path,
    url: str,
    error: type[Exception],
    match: str,
) -> None:
    root = write_files(tmp_path / "plain", {"a": b"1"})
    with pytest.raises(error, match=match):
        take(store, cache, url.format(root))


class Web(BaseHTTPRequestHandler):
    """Serves `/d/file` with an ETag, and breaks off `/short`."""

    content = b"content" * 1000
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hash(self.content)}"')
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: 10 if self.path == "/short" else None])

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002  (the base's)


@pytest.fixture
def web() -> Any:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_web_address_is_fetched_when_it_changes(
    store: CountingStore, cache: Cache, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{web}/d/file"
    assert files_of(take(store, cache, url).path) == {"d/file": Web.content}
    assert take(store, cache, url, keep_directories="none").is_warm
    monkeypatch.setattr(Web, "content", b"other")
    assert files_of(take(store, cache, url).path) == {"d/file": b"other"}


def test_a_transfer_that_breaks_off_leaves_nothing(
    store: CountingStore, cache: Cache, web: str
) -> None:
    with pytest.raises(StoreError, match="bytes are missing"):
        take(store, cache, f"{web}/short")
    with pytest.raises(NotFoundError):
        take(store, cache, f"{web}/missing")
    assert not list(cache.entries())


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


def test_datasets_do_not_mix(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", FILES)
    with pytest.raises(NotFoundError):
        resolve_version(DatasetUri("cats", "v1"), store=store, cache=cache)
