"""The behaviour suite against every store."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from prefect_datasets.core.store import Store, azure, gcs
from tests.servers.process import Served
from tests.stores.contract import StoreContract


class TestLocal(StoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}"


class TestMemory(StoreContract):
    @pytest.fixture
    def url(self) -> str:
        return "memory://tests"


class ServedContract(StoreContract):
    """A store that a server holds; `served` says which."""

    @pytest.fixture
    def served(self) -> Served:
        raise NotImplementedError

    @pytest.fixture
    def url(self, served: Served) -> str:
        return served.url

    @pytest.fixture
    def options(self, served: Served) -> dict[str, object]:
        return served.options


class TestSeaweedFS(ServedContract):
    @pytest.fixture
    def served(self, seaweedfs: Served) -> Served:
        return seaweedfs


class TestSeaweedFSByS3fs(ServedContract):
    @pytest.fixture
    def served(self, seaweedfs: Served) -> Served:
        return Served(seaweedfs.url, {**seaweedfs.options, "fast": False})


class TestMiniStack(ServedContract):
    @pytest.fixture
    def served(self, ministack: Served) -> Served:
        return ministack


class TestMiniStackByS3fs(ServedContract):
    @pytest.fixture
    def served(self, ministack: Served) -> Served:
        return Served(ministack.url, {**ministack.options, "fast": False})


class TestCeph(ServedContract):
    @pytest.fixture
    def served(self, ceph: Served) -> Served:
        return ceph


# gcsfs gives aiohttp large bodies as bytes on purpose.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestGcs(ServedContract):
    more_than_a_page = 45

    @pytest.fixture
    def served(self, fake_gcs: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
        monkeypatch.setattr(gcs, "_LIST_PAGE", 20)
        return fake_gcs


class TestAzure(ServedContract):
    more_than_a_page = 45

    @pytest.fixture
    def served(self, azurite: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
        monkeypatch.setattr(azure, "_LIST_PAGE", 20)
        return azurite


class PlainFileSystem(LocalFileSystem):
    """A filesystem that the project knows nothing of: it has folders, and no atomic create."""

    protocol: ClassVar[str] = "plainfs"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("plainfs://"))


class TestGeneric(StoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        fsspec.register_implementation("plainfs", PlainFileSystem, clobber=True)
        return f"plainfs://{tmp_path}"

    def test_of_many_that_create_one_wins(self, store: Store) -> None:
        pytest.skip("fsspec looks first and writes then")
