"""From a URI to a folder: the first time, the second, and after the store has changed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.errors import NotFoundError
from prefect_datasets.core.publish.publish import Policy, package_version
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.resolve.resolve import resolve_version
from prefect_datasets.core.store import open_store
from prefect_datasets.core.store_spec import StoreSpec
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog, deletion
from tests.core.published import publish, uri, write_files
from tests.core.resolve.small_versions import FILES, SMALL, get, put
from tests.core.trees import CountingStore, files_of, many_files


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


def test_datasets_do_not_mix(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", FILES)
    with pytest.raises(NotFoundError):
        resolve_version(DatasetUri("cats", "v1"), store=store, cache=cache)
