"""S3 behind a network and a server that fail, for obstore and for s3fs."""

from __future__ import annotations

import time
from collections.abc import Generator

import pytest

from prefect_datasets.core.errors import ConflictError, DatasetError, IntegrityError, StoreError
from prefect_datasets.core.store import Range, Store, open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from tests.servers.faultproxy import FaultProxy
from tests.servers.process import Served
from tests.servers.s3 import s3_client
from tests.stores.contents import keys, spread

ALWAYS = 10_000
PIECE = 5 << 20  # the least that S3 takes
CLIENTS = pytest.mark.parametrize("fast", [True, False], ids=["obstore", "s3fs"])


@pytest.fixture
def proxy(seaweedfs: Served) -> Generator[FaultProxy]:
    with FaultProxy(str(seaweedfs.options["endpoint_url"])) as running:
        yield running


@pytest.fixture
def store(seaweedfs: Served, proxy: FaultProxy, fresh_prefix: str, fast: bool) -> Store:
    options = {**seaweedfs.options, "endpoint_url": proxy.url, "fast": fast}
    return open_store(f"{seaweedfs.url}/{fresh_prefix}", options)


def open_uploads(served: Served, store: Store) -> list[str]:
    """Look past the proxy for multipart uploads that were left open."""
    client = s3_client(str(served.options["endpoint_url"]))
    try:
        prefix = store.url.removeprefix(f"{served.url}/")
        reply = client.list_multipart_uploads(Bucket=store.bucket, Prefix=prefix)
    finally:
        client.close()
    return [upload["Key"] for upload in reply.get("Uploads", ())]


@CLIENTS
class TestOnce:
    """What happens once is not seen by the caller."""

    @pytest.mark.parametrize("action", ["refuse", "reset", "truncate"])
    def test_read(self, store: Store, proxy: FaultProxy, action: str) -> None:
        data = spread(300_000)
        store.write("key", data)
        rule = proxy.fail("GET", action, path="/key")  # type: ignore[arg-type]
        assert store.read("key") == data
        assert rule.hits == 1
        rule = proxy.fail("GET", action, path="/key")  # type: ignore[arg-type]
        assert store.read_range("key", 1000, 200_000) == data[1000:201_000]
        assert rule.hits == 1

    @pytest.mark.parametrize("action", ["refuse", "reset", "truncate"])
    def test_read_into(self, store: Store, proxy: FaultProxy, action: str) -> None:
        data = spread(300_000)
        store.write("key", data)
        buffer = memoryview(bytearray(200_000))
        with store.reader() as reader:
            for start in range(0, 100_000, 20_000):  # a reader that gave up goes on all the same
                rule = proxy.fail("GET", action, path="/key")  # type: ignore[arg-type]
                reader.read_into("key", start, buffer)
                assert buffer == data[start : start + 200_000]
                assert rule.hits == 1

    @pytest.mark.parametrize("action", ["refuse", "reset", "truncate"])
    def test_read_many(self, store: Store, proxy: FaultProxy, action: str) -> None:
        data = spread(300_000)
        store.write("key", data)
        rule = proxy.fail("GET", action, path="/key", times=3)  # type: ignore[arg-type]
        ranges = [Range("key", start, 1000) for start in range(0, 250_000, 2500)]
        found = store.read_many(ranges)
        assert [bytes(got) for got in found] == [data[at.start : at.start + 1000] for at in ranges]
        assert rule.hits == 3

    @pytest.mark.parametrize("action", ["refuse", "reset", "lost_reply"])
    def test_write(self, store: Store, proxy: FaultProxy, action: str) -> None:
        rule = proxy.fail("PUT", action, path="/key")  # type: ignore[arg-type]
        store.write("key", b"data")
        assert rule.hits == 1
        assert store.read("key") == b"data"

    def test_list(self, store: Store, proxy: FaultProxy) -> None:
        store.write_many([("a/1", b"1"), ("a/2", b"2")])
        rule = proxy.fail("GET", "reset", path="list-type=2")
        assert keys(store, "a/") == ["a/1", "a/2"]
        assert rule.hits == 1

    @pytest.mark.parametrize("action", ["refuse", "reset", "lost_reply"])
    @pytest.mark.parametrize("step", ["uploads", "partNumber", "uploadId=[^&]*$"])
    def test_upload(self, store: Store, proxy: FaultProxy, action: str, step: str) -> None:
        size = PIECE
        data = spread(size + 1000)
        method = "PUT" if step == "partNumber" else "POST"
        rule = proxy.fail(method, action, path=f"/big\\?.*{step}")  # type: ignore[arg-type]
        with store.upload("big", len(data)) as upload:
            upload.piece(0, 0, data[:size])
            upload.piece(1, size, data[size:])
            upload.complete()
        assert rule.hits == 1
        assert store.read("big") == data

    def test_a_lost_reply_to_create_leaves_a_question(
        self, store: Store, proxy: FaultProxy
    ) -> None:
        rule = proxy.fail("PUT", "lost_reply", path="/record")
        with pytest.raises((ConflictError, StoreError)):
            store.create("record", b"mine")
        assert rule.hits == 1
        assert store.read("record") == b"mine"


@CLIENTS
class TestAlways:
    """What happens always is one error, soon."""

    @pytest.mark.parametrize("status", [503, 500])
    def test_a_busy_store(self, store: Store, proxy: FaultProxy, status: int) -> None:
        store.write("key", b"data")
        rule = proxy.fail("GET", "refuse", path="/key", times=ALWAYS, status=status)
        started = time.monotonic()
        with pytest.raises(StoreError, match=r"Could not read .*key"):
            store.read("key")
        assert time.monotonic() - started < 60
        assert 2 <= rule.hits <= 12

    def test_a_reply_that_always_breaks(self, store: Store, proxy: FaultProxy) -> None:
        store.write("key", spread(100_000))
        proxy.fail("GET", "truncate", path="/key", times=ALWAYS)
        with pytest.raises((StoreError, IntegrityError), match="key"):
            store.read_range("key", 0, 100_000)

    def test_a_piece_that_never_arrives(
        self, store: Store, proxy: FaultProxy, seaweedfs: Served
    ) -> None:
        size = PIECE
        proxy.fail("PUT", "refuse", path="partNumber=2", times=ALWAYS, status=500)

        def upload_all() -> None:
            with store.upload("big", 2 * size) as upload:
                upload.piece(0, 0, bytes(size))
                upload.piece(1, size, bytes(size))
                upload.complete()

        with pytest.raises(StoreError, match=r"Could not write .*big"):
            upload_all()
        proxy.clear()
        assert keys(store) == []
        assert open_uploads(seaweedfs, store) == []

    def test_one_of_many(self, store: Store, proxy: FaultProxy) -> None:
        proxy.fail("PUT", "refuse", path="/n/7", times=ALWAYS, status=500)
        with pytest.raises(StoreError, match="n/7"):
            store.write_many([(f"n/{n}", b"1") for n in range(10)])


@CLIENTS
class TestSetUpWrongly:
    @pytest.mark.parametrize(
        ("change", "kind", "says"),
        [
            ({"secret": "wrong-secret"}, "AccessDeniedError", "refused the credentials"),
            ({"key": "nobody"}, "AccessDeniedError", "refused the credentials"),
            ({"key": None, "secret": None}, "AccessDeniedError", "redentials"),
            ({"key": None, "secret": None, "anon": True}, "AccessDeniedError", "refused"),
            ({"profile": "no-such", "key": None, "secret": None}, "InvalidInputError", "profile"),
            ({"endpoint_url": "http://127.0.0.1:9"}, "StoreError", "can't be reached.*127.0.0.1:9"),
            ({"endpoint_url": "http://store.invalid"}, "StoreError", "can't be reached.*invalid"),
        ],
    )
    def test_one_clear_error(
        self,
        seaweedfs: Served,
        monkeypatch: pytest.MonkeyPatch,
        fast: bool,
        change: dict[str, object],
        kind: str,
        says: str,
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        changed = {**seaweedfs.options, **change, "fast": fast}
        options = {name: value for name, value in changed.items() if value is not None}
        with pytest.raises(DatasetError, match=f"(?s){says}") as caught:
            open_store(seaweedfs.url, options).check()
        assert type(caught.value).__name__ == kind
        assert "wrong-secret" not in str(caught.value)
        assert len(str(caught.value)) < 400
        assert "\n" not in str(caught.value)

    def test_a_missing_bucket_is_named(self, seaweedfs: Served, fast: bool) -> None:
        store = open_store("s3://not-there", {**seaweedfs.options, "fast": fast})

        def upload() -> None:
            with store.upload("big", 32 << 20) as begun:
                begun.piece(0, 0, bytes(16 << 20))

        for act in (
            store.check,
            lambda: store.read("key"),
            lambda: catalog.find(store, DatasetUri("pets", "v1")),
            lambda: list(store.list("")),
            lambda: store.list_folders(""),
            upload,
        ):
            with pytest.raises(DatasetError, match="No such bucket 'not-there'"):
                act()


class TestDamage:
    """A flipped bit: s3fs sees it by the checksum that the store keeps; obstore looks at none."""

    fast = pytest.mark.parametrize("fast", [False])

    @fast
    def test_once_is_read_again(self, store: Store, proxy: FaultProxy) -> None:
        store.write("key", b"0123456789")
        rule = proxy.fail("GET", "corrupt", path="/key")
        assert store.read("key") == b"0123456789"
        assert rule.hits == 1

    @fast
    def test_always_is_an_error(self, store: Store, proxy: FaultProxy) -> None:
        store.write("key", b"0123456789")
        proxy.fail("GET", "corrupt", path="/key", times=ALWAYS)
        with pytest.raises(StoreError, match=r"damaged on the way: .*key"):
            store.read("key")


@CLIENTS
class TestConditions:
    @pytest.fixture
    def store(self, ministack: Served, fresh_prefix: str, fast: bool) -> Generator[Store]:
        """A store that takes every condition away; MiniStack checks no signature."""
        with FaultProxy(str(ministack.options["endpoint_url"])) as proxy:
            proxy.fail("PUT", "unconditional", times=ALWAYS)
            options = {**ministack.options, "endpoint_url": proxy.url, "fast": fast}
            yield open_store(f"{ministack.url}/{fresh_prefix}", options)

    def test_a_store_that_ignores_them_is_noticed(self, store: Store) -> None:
        assert store.ignores_conditions()
        assert keys(store) == []

    def test_so_is_one_that_refuses_them(self, seaweedfs: Served, fast: bool) -> None:
        with FaultProxy(str(seaweedfs.options["endpoint_url"])) as proxy:
            proxy.fail("PUT", "refuse", times=ALWAYS, status=501)
            options = {**seaweedfs.options, "endpoint_url": proxy.url, "fast": fast}
            store = open_store(f"{seaweedfs.url}/x", options)
            with pytest.raises(StoreError, match="under a condition"):
                store.create("key", b"1")
            assert store.ignores_conditions()
