"""The head of a package is fetched while the engine is loaded, and used once."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache, Selection
from prefect_datasets.core.errors import StoreError
from prefect_datasets.core.resolve import head as heads
from prefect_datasets.core.resolve.head import PackageHead
from prefect_datasets.core.resolve.resolve import resolve_version
from prefect_datasets.core.store.base import Range
from tests.core.published import publish, uri, write_files
from tests.core.trees import CountingStore, files_of

BLOCK = 1000


class FarStore(CountingStore):
    """A store that is not on this machine, as far as a resolve can tell; reads can be damaged."""

    def __init__(self, root: Path, log: Path) -> None:
        super().__init__(root, log)
        self.kind = "far"
        self.answers: list[Exception | None] = []
        self.damage_from = -1

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        if self.answers and (answer := self.answers.pop(0)):
            raise answer
        data = super().read_range(key, start, length)
        if start == self.damage_from:
            self.damage_from = -1
            return memoryview(bytes(length))
        return data


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FarStore:
    monkeypatch.setattr(heads, "_BLOCK_BYTES", BLOCK)
    (tmp_path / "store").mkdir()
    return FarStore(tmp_path / "store", tmp_path / "reads")


@pytest.fixture
def files(tmp_path: Path, store: FarStore) -> dict[str, bytes]:
    files = {f"f{number:03}": os.urandom(300) for number in range(40)}
    publish(write_files(tmp_path / "out", files), store, "v1", packaging=True)
    return files


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_each_byte_is_fetched_once(store: FarStore, cache: Cache, files: dict[str, bytes]) -> None:
    tree = resolve_version(uri("v1"), store=store, cache=cache)
    assert files_of(tree.path) == files
    reads = sorted(store.reads(), key=lambda read: read.start)
    assert [read.start for read in reads[:4]] == [0, BLOCK, 2 * BLOCK, 3 * BLOCK]
    assert all(a.start + a.length <= b.start for a, b in pairwise(reads))
    tables = sum(path.stat().st_size for path in (tree.path.parent / "parts").iterdir())
    assert tree.n_fetched_bytes == store.n_bytes_read() + tables


@pytest.mark.parametrize("number", range(4))
def test_a_block_that_fails_is_read_later(
    store: FarStore, cache: Cache, files: dict[str, bytes], number: int
) -> None:
    store.answers = [*[None] * number, StoreError("busy")]
    assert files_of(resolve_version(uri("v1"), store=store, cache=cache).path) == files
    assert store.answers == []


def test_a_damaged_block_is_read_again(
    store: FarStore, cache: Cache, files: dict[str, bytes]
) -> None:
    store.damage_from = 2 * BLOCK
    assert files_of(resolve_version(uri("v1"), store=store, cache=cache).path) == files
    assert store.damage_from == -1


def test_a_selection_fetches_no_head(
    store: FarStore, cache: Cache, files: dict[str, bytes]
) -> None:
    some = Selection(include=("f03*",))
    tree = resolve_version(uri("v1"), store=store, cache=cache, selection=some)
    assert len(files_of(tree.path)) == 10
    assert all(read.start > 4 * BLOCK for read in store.reads())


def test_nor_does_a_version_that_is_nearly_here(
    tmp_path: Path, store: FarStore, cache: Cache, files: dict[str, bytes]
) -> None:
    resolve_version(uri("v1"), store=store, cache=cache)
    n_reads = len(store.reads())
    publish(write_files(tmp_path / "more", {**files, "g": b"new"}), store, "v2", packaging=True)
    tree = resolve_version(uri("v2"), store=store, cache=cache)
    assert files_of(tree.path) == {**files, "g": b"new"}
    assert len(store.reads()) == n_reads + 1


def test_what_is_taken(tmp_path: Path, store: FarStore, files: dict[str, bytes]) -> None:
    """As much as is here, from the wanted byte on."""
    from prefect_datasets.core.versions import catalog

    assert files
    (part,) = catalog.find(store, uri("v1")).parts
    assert part.package is not None
    key = part.package.key
    whole = store.read(key)
    store.answers = [None, None, StoreError("busy")]
    with PackageHead(store, part, lambda n_bytes: memoryview(bytearray(n_bytes))) as head:
        for thread in head._threads:
            thread.join()
        (lost,) = {0, BLOCK, 2 * BLOCK, 3 * BLOCK} - head._whole
        for start in (lost - BLOCK // 2, lost, lost + BLOCK // 2):
            data = head.take(Range(key, start, BLOCK // 4)) if start >= 0 else b""
            assert bytes(data) == (whole[start : start + BLOCK // 4] if 0 <= start < lost else b"")
        assert not head.take(Range("another", 0, BLOCK))
        assert not head.take(Range(key, 4 * BLOCK, BLOCK))
