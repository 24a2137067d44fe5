"""A new version, a shard and a selection fetch what they lack, and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache, Selection
from prefect_datasets.core.cache.prune import clear, plan_clear, survey
from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.publish.publish import Policy
from prefect_datasets.core.reads import CostModel
from tests.core.resolve.small_versions import FILES, get, put
from tests.core.trees import CountingStore, files_of, many_files

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
