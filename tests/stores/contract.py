"""What every store must do: one suite, run unchanged against each.

A subclass gives the fixtures `url` and `options`; `store` is then a fresh root there.
"""

from __future__ import annotations

import os
import pickle
import random
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from prefect_datasets.core.errors import ConflictError, IntegrityError, NotFoundError
from prefect_datasets.core.store import Range, Store, key_of_path, open_store
from tests.stores.contents import MIB, ODD_PATHS, at_once, keys, spread
from tests.stores.upload_contract import UploadContract


class StoreContract(UploadContract):
    more_than_a_page: ClassVar[int] = 1010

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {}

    @pytest.fixture
    def store(self, url: str, options: dict[str, object], fresh_prefix: str) -> Store:
        return open_store(f"{url}/{fresh_prefix}", options)

    # -- reading and writing

    def test_reads_what_was_written(self, store: Store) -> None:
        for data in (b"", b"x", spread(3 * MIB)):
            store.write("a/b/c.bin", data)
            assert store.read("a/b/c.bin") == data

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_writes_any_buffer(self, store: Store, kind: Callable[[bytes], bytes]) -> None:
        store.write("key", kind(b"0123456789")[2:5])
        assert store.read("key") == b"234"

    def test_writes_what_arrow_and_numpy_hold(self, store: Store) -> None:
        import numpy as np
        import pyarrow as pa

        numbers: Any = np.arange(3, dtype="<u2")  # a buffer, though its stubs don't say so
        store.write_many([("arrow", pa.py_buffer(b"abc")), ("numpy", numbers)])
        assert store.read("arrow") == b"abc"
        assert store.read("numpy") == b"\0\0\1\0\2\0"

    def test_writing_again_replaces(self, store: Store) -> None:
        store.write("key", b"long and old")
        store.write("key", b"new")
        assert store.read("key") == b"new"

    def test_a_missing_object_is_not_found(self, store: Store) -> None:
        for read in (
            lambda: store.read("no/such"),
            lambda: store.read_range("no/such", 0, 4),
            lambda: store.read_many([Range("no/such", 0, 4), Range("no/such", 4, 4)]),
        ):
            with pytest.raises(NotFoundError, match=r"No such object: .*no/such"):
                read()
        assert store.info("no/such") is None

    def test_a_range_is_exact(self, store: Store) -> None:
        data = spread(100_000)
        store.write("key", data)
        for start, length in ((0, 1), (0, 100_000), (99_999, 1), (500, 70_000), (10, 0)):
            got = store.read_range("key", start, length)
            assert isinstance(got, memoryview)
            assert got == data[start : start + length]

    def test_a_reader_fills_a_buffer(self, store: Store) -> None:
        data = spread(100_000)
        store.write("key", data)
        store.write("a b/é+%", data[::-1])
        buffer = memoryview(bytearray(100_000))
        with store.reader() as reader:
            for start, length in ((0, 100_000), (99_999, 1), (500, 70_000), (10, 0)):
                reader.read_into("key", start, buffer[:length])
                assert buffer[:length] == data[start : start + length]
                reader.read_into("a b/é+%", start, buffer[:length])
                assert buffer[:length] == data[::-1][start : start + length]

    def test_a_reader_fails_as_the_store_does(self, store: Store) -> None:
        store.write("key", b"0123456789")
        with store.reader() as reader:
            with pytest.raises(NotFoundError, match=r"No such object: .*no/such"):
                reader.read_into("no/such", 0, memoryview(bytearray(4)))
            for start in (0, 9, 10, 1000):
                with pytest.raises(IntegrityError, match="ends early"):
                    reader.read_into("key", start, memoryview(bytearray(11)))
            store.write("key", b"abcdefghij")
            buffer = memoryview(bytearray(5))
            reader.read_into("key", 5, buffer)
            assert buffer == b"fghij"

    @pytest.mark.parametrize("start", [0, 5, 9, 10, 1000])
    def test_a_range_beyond_the_end_is_an_error(self, store: Store, start: int) -> None:
        store.write("key", b"0123456789")
        with pytest.raises(IntegrityError, match="ends early"):
            store.read_range("key", start, 11)

    def test_reads_many_in_order(self, store: Store) -> None:
        data = spread(MIB)
        store.write("key", data)
        ranges = [Range("key", start, 1000) for start in range(0, MIB - 1000, 9001)]
        random.Random(2).shuffle(ranges)
        got = store.read_many(ranges)
        assert [bytes(one) for one in got] == [data[r.start : r.start + 1000] for r in ranges]

    def test_writes_many(self, store: Store) -> None:
        items = [(f"many/{n % 7}/{n}", f"content {n}".encode()) for n in range(120)]
        store.write_many(items)
        assert keys(store, "many/") == sorted(key for key, _ in items)
        wanted = [Range(key, 0, len(data)) for key, data in items]
        assert [bytes(got) for got in store.read_many(wanted)] == [data for _, data in items]

    def test_odd_names(self, store: Store) -> None:
        named = {key_of_path(path): path.encode() for path in ODD_PATHS}
        store.write_many([(f"files/{key}", data) for key, data in named.items()])
        assert keys(store, "files/") == sorted(f"files/{key}" for key in named)
        for key, data in named.items():
            assert store.read(f"files/{key}") == data
            assert store.read_range(f"files/{key}", 1, 2) == data[1:3]
            found = store.info(f"files/{key}")
            assert found is not None
            assert found.n_bytes == len(data)
        store.copy(f"files/{key_of_path(ODD_PATHS[3])}", "files/copied")
        assert store.read("files/copied") == ODD_PATHS[3].encode()
        store.delete([f"files/{key}" for key in named])
        assert keys(store) == ["files/copied"]

    def test_a_long_key(self, store: Store) -> None:
        key = "/".join(["x" * 200] * 3 + ["y" * 100])
        store.write(key, b"deep")
        assert store.read(key) == b"deep"
        assert keys(store) == [key]

    # -- looking

    def test_info(self, store: Store) -> None:
        store.write("folder/key", b"12345")
        found = store.info("folder/key")
        assert found is not None
        assert (found.key, found.n_bytes) == ("folder/key", 5)
        assert abs(found.modified - time.time()) < 60
        assert store.info("folder") is None

    def test_list(self, store: Store) -> None:
        written = ["a", "b/1", "b/2/x", "b/2/y", "b-c/1", "c/1"]
        store.write_many([(key, key.encode()) for key in written])
        assert keys(store) == sorted(written)
        assert keys(store, "b/") == keys(store, "b") == ["b/1", "b/2/x", "b/2/y"]
        assert keys(store, "b/2/") == ["b/2/x", "b/2/y"]
        assert keys(store, "none/") == []
        assert {found.n_bytes for found in store.list("b/2/")} == {5}
        assert all(abs(found.modified - time.time()) < 60 for found in store.list(""))

    def test_list_folders(self, store: Store) -> None:
        store.write_many([(key, b"1") for key in ("d/v1.json", "d/@x/y", "d/f/g/h", "e/i", "top")])
        assert store.list_folders("") == ["d", "e"]
        assert store.list_folders("d/") == store.list_folders("d") == ["@x", "f"]
        assert store.list_folders("d/f/g/") == []
        assert store.list_folders("none/") == []

    def test_listings_are_fresh(self, store: Store, url: str, options: dict[str, object]) -> None:
        other = open_store(store.url, options)
        for n in range(3):
            assert len(keys(store, "f/")) == n
            other.write(f"f/{n}", b"1")
        other.delete(["f/0"])
        assert keys(store, "f/") == ["f/1", "f/2"]
        assert store.info("f/0") is None

    def test_many_pages(self, store: Store) -> None:
        written = [f"page/{n:05}" for n in range(self.more_than_a_page)]
        store.write_many([(key, b"1") for key in written])
        assert keys(store, "page/") == written
        store.delete(iter(written))
        assert keys(store) == []

    # -- deleting and copying

    def test_delete(self, store: Store) -> None:
        store.write_many([("a/1", b"1"), ("a/2", b"2"), ("b", b"3")])
        store.delete(["a/1", "not/there", "b"])
        assert keys(store) == ["a/2"]
        store.delete([])

    def test_a_store_can_be_used_again_after_its_last_object(self, store: Store) -> None:
        store.write("a/b/c", b"1")
        store.delete(["a/b/c"])
        store.write("a/b/c", b"2")
        assert store.read("a/b/c") == b"2"

    def test_copy(self, store: Store) -> None:
        data = spread(2 * MIB)
        store.write("from/here", data)
        store.copy("from/here", "to/there")
        assert store.read("to/there") == data
        with pytest.raises(NotFoundError, match="no/such"):
            store.copy("no/such", "to/nowhere")
        assert keys(store) == ["from/here", "to/there"]

    # -- creating

    def test_create_refuses_a_second_time(self, store: Store) -> None:
        store.create("record.json", b"first")
        with pytest.raises(ConflictError, match=r"is there already: .*record\.json"):
            store.create("record.json", b"second")
        store.create("empty", b"")
        with pytest.raises(ConflictError):
            store.create("empty", b"")
        assert store.read("record.json") == b"first"
        assert keys(store) == ["empty", "record.json"]

    def test_of_many_that_create_one_wins(self, store: Store) -> None:
        for n in range(5):
            key = f"race/{n}"
            acts = [lambda key=key, me=me: store.create(key, b"%d" % me) for me in range(4)]
            results = at_once(*acts)
            winners = [me for me, result in enumerate(results) if result is None]
            assert len(winners) == 1, results
            assert all(r is None or isinstance(r, ConflictError) for r in results), results
            assert store.read(key) == b"%d" % winners[0]

    def test_it_keeps_conditions(self, store: Store) -> None:
        assert not store.ignores_conditions()
        assert keys(store) == []

    def test_check(self, store: Store) -> None:
        store.check()
        assert keys(store) == []

    # -- processes

    def test_it_survives_pickling(self, store: Store) -> None:
        store.write("key", b"1")
        again = pickle.loads(pickle.dumps(store))
        assert (again.url, again.kind, again.bucket) == (store.url, store.kind, store.bucket)
        assert again.read("key") == b"1"

    def test_it_survives_a_fork(self, store: Store) -> None:
        if store.kind == "memory":
            pytest.skip("memory belongs to one process")
        store.write_many([("a", b"1"), ("b", b"2")])
        pid = os.fork()
        if pid == 0:
            try:
                store.write("child", store.read("a") + store.read_range("b", 0, 1))
                with store.upload("uploaded", 2) as upload:
                    upload.piece(0, 0, b"up")
                    upload.complete()
            finally:
                os._exit(0)
        assert _ended(pid, seconds=60), "the child hangs"
        assert (store.read("child"), store.read("uploaded")) == (b"12", b"up")


def _ended(pid: int, *, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.05)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return False
