"""A version's whole life on every store: published, resolved, changed, checked, collected."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.errors import AlreadyPublishedError, DatasetError
from prefect_datasets.core.format import keys, parts
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.publish.publish import Policy
from prefect_datasets.core.resolve.resolve import resolve_version
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.versions import catalog, deletion
from prefect_datasets.core.versions.garbage import GRACE_SECONDS, collect, plan_garbage
from prefect_datasets.core.versions.verify import verify
from tests.core.published import publish, uri, write_files
from tests.servers.process import Served
from tests.stores.contents import ODD_PATHS

ODD = {path: path.encode() for path in ODD_PATHS if not any(ord(c) < 32 for c in path)}
FILES = {
    **{f"many/{number:03}.bin": os.urandom(2000) for number in range(60)},
    **{f"odd/{path}": content for path, content in ODD.items()},
    "empty": b"",
    "large.bin": os.urandom(24_000_000),  # two pieces, with a run to copy
}


class VersionContract:
    """A subclass gives the fixture `store`."""

    def test_a_versions_life(self, store: Store, tmp_path: Path) -> None:
        cache = Cache(tmp_path / "cache")
        first = publish(write_files(tmp_path / "one", FILES), store, "v1", aliases=("best",))
        cold = resolve_version(uri("best"), store=store, cache=cache)
        assert read_tree(cold.path) == FILES
        assert not cold.is_warm
        assert resolve_version(uri("v1"), store=store, cache=cache).is_warm

        changes = {"many/007.bin": b"changed", "new": b"added"}
        root = write_files(tmp_path / "two", changes)
        second = publish(root, store, "v2", base=first.uri, exclude=("empty",))
        tree = resolve_version(uri("latest"), store=store, cache=cache)
        expected = {**FILES, **changes}
        del expected["empty"]
        assert read_tree(tree.path) == expected
        assert tree.n_fetched_bytes < 200_000, "only what changed, and the table"
        assert verify(second.uri, store=store, deep=True).faults == ()

        deletion.delete(store, deletion.plan_delete(store, first.uri))
        garbage = plan_garbage(store, time.time() + 2 * GRACE_SECONDS)
        collect(store, garbage)
        assert any(key.endswith(".vhpkgzip") for key in garbage.keys)
        assert verify(second.uri, store=store, deep=True).faults == ()

    def test_packages_alone_and_without_packages(self, store: Store, tmp_path: Path) -> None:
        few = {path: content for path, content in FILES.items() if path != "large.bin"}
        root = write_files(tmp_path / "out", few)
        policy = Policy(individual_files=False)
        publish(root, store, "packed", policy=policy)
        publish(root, store, "plain", packaging=False)
        for name in ("packed", "plain"):
            cache = Cache(tmp_path / name)
            tree = resolve_version(uri(name), store=store, cache=cache)
            assert read_tree(tree.path) == few

    def test_of_many_that_publish_at_once_one_wins(self, store: Store, tmp_path: Path) -> None:
        store.ignores_conditions()
        results: list[VersionRecord | DatasetError] = []

        def attempt(number: int) -> None:
            root = write_files(tmp_path / str(number), {"f": str(number).encode()})
            try:
                results.append(publish(root, store, "raced"))
            except DatasetError as error:
                results.append(error)

        threads = [threading.Thread(target=attempt, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [result for result in results if isinstance(result, VersionRecord)]
        lost = [result for result in results if isinstance(result, AlreadyPublishedError)]
        assert (len(won), len(lost)) == (1, 3), results
        assert catalog.find(store, uri("raced")) == won[0]

    def test_a_failed_publish_is_taken_up(self, store: Store, tmp_path: Path) -> None:
        root = write_files(tmp_path / "out", {f"{n}": os.urandom(100) for n in range(50)})
        policy = Policy(max_package_bytes=1000)
        publish(root, store, "v1", policy=policy)
        # What a kill just before the commit leaves: everything but the record.
        record = catalog.find(store, uri("v1"))
        attempt = f'{{"format": 1, "execution": "{record.execution}", "reuses": []}}'
        store.write(keys.attempt_key(record.uri, record.execution), attempt.encode())
        store.delete([keys.record_key(record.uri)])
        again = publish(root, store, "v1", policy=policy)
        assert again.digest == record.digest
        assert again.packages == record.packages, "nothing is packed or sent again"
        urls = [row["url"] for row in parts.read_rows(store, again).to_pylist()]
        assert {url.split("/")[1] for url in urls} == {record.execution}


def read_tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


class TestLocal(VersionContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(str(tmp_path / "store"))


class TestMemory(VersionContract):
    @pytest.fixture
    def store(self, fresh_prefix: str) -> Store:
        return open_store(f"memory://{fresh_prefix}")


def opened(served: Served, prefix: str, **options: object) -> Store:
    return open_store(f"{served.url.rstrip('/')}/{prefix}", {**served.options, **options})


class TestSeaweedFS(VersionContract):
    @pytest.fixture
    def store(self, seaweedfs: Served, fresh_prefix: str) -> Store:
        return opened(seaweedfs, fresh_prefix)


class TestMiniStack(VersionContract):
    @pytest.fixture
    def store(self, ministack: Served, fresh_prefix: str) -> Store:
        return opened(ministack, fresh_prefix)


class TestMiniStackByS3fs(VersionContract):
    @pytest.fixture
    def store(self, ministack: Served, fresh_prefix: str) -> Store:
        return opened(ministack, fresh_prefix, fast=False)


class TestCeph(VersionContract):
    @pytest.fixture
    def store(self, ceph: Served, fresh_prefix: str) -> Store:
        return opened(ceph, fresh_prefix)


# gcsfs gives aiohttp large bodies as bytes on purpose.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestGcs(VersionContract):
    @pytest.fixture
    def store(self, fake_gcs: Served, fresh_prefix: str) -> Store:
        return opened(fake_gcs, fresh_prefix)


class TestAzure(VersionContract):
    @pytest.fixture
    def store(self, azurite: Served, fresh_prefix: str) -> Store:
        return opened(azurite, fresh_prefix)
