"""What is damaged in the store or in the cache is made up for, or named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prefect_datasets.core.cache import check
from prefect_datasets.core.cache.cache import Cache, Selection
from prefect_datasets.core.errors import (
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StoreError,
)
from prefect_datasets.core.progress import NoProgress
from prefect_datasets.core.publish.publish import Policy
from prefect_datasets.core.resolve.resolve import resolve_version
from tests.core.published import Told, uri, write_files
from tests.core.resolve.small_versions import FILES, SMALL, get, put
from tests.core.trees import CountingStore, files_of, many_files, overwrite, truncate

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


def test_a_file_that_is_there_already_is_not_written_to(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    """As where a file system takes two names for one: it may be a link to a file in use."""
    put(out, store, "v1", {"large": os.urandom(50_000)})
    used = write_files(out.parent / "used", {"file": b"in use"}) / "file"

    class Linking(NoProgress):
        def start(self, what: str, *, n_files: int, n_bytes: int) -> None:
            if what == "fetching":
                [files] = cache.root.glob("attempts/*/*/*/*/files")
                (files / "large").hardlink_to(used)

    with pytest.raises(InvalidInputError, match="takes for one"):
        get(store, cache, cost=SMALL, progress=Linking())
    assert used.read_bytes() == b"in use"


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
