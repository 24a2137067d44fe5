"""The block, and which store is meant by what a user writes."""

from __future__ import annotations

import asyncio
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
import pytest
from prefect import flow
from prefect.blocks.core import Block
from prefect.blocks.fields import SecretDict
from prefect.client.orchestration import get_client
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from prefect.utilities.dispatch import get_registry_for_type

import prefect_datasets.blocks
from prefect_datasets import DatasetStore
from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.core.errors import DatasetError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator


def _own_blocks() -> list[type[Block]]:
    registry = get_registry_for_type(Block) or {}
    return [block for block in registry.values() if block.__module__.startswith("prefect_datasets")]


@pytest.mark.parametrize("block", _own_blocks(), ids=lambda block: block.__name__)
class TestAllBlocks(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, block: type[Block]) -> type[Block]:
        return block

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """Prefect's own test downloads the picture; here it is enough that a browser could."""
        assert str(block._logo_url).startswith("https://")


@pytest.fixture
def saved() -> Iterator[DatasetStore]:
    """A block saved under the name that is used where none is given."""
    block = DatasetStore(
        url="memory://saved",
        options={"anon": False},
        secrets=SecretDict({"key": "id", "secret": "hush"}),
        max_package_bytes=1000,
    )
    block.save("default")
    yield block
    DatasetStore.delete("default")


def test_prefect_finds_the_block_by_the_entry_point() -> None:
    (found,) = [e for e in entry_points(group="prefect.collections") if "datasets" in e.name]
    assert found.load() is prefect_datasets.blocks
    assert DatasetStore.get_block_type_slug() == "dataset-store"


def test_a_saved_block_comes_back_with_its_secrets(saved: DatasetStore) -> None:
    loaded = DatasetStore.load("default")
    assert isinstance(loaded, DatasetStore)
    assert loaded.secrets.get_secret_value() == {"key": "id", "secret": "hush"}
    assert loaded == saved


def test_the_server_shows_no_secret(saved: DatasetStore) -> None:
    assert saved._block_document_id is not None
    document = get_client(sync_client=True).read_block_document(
        saved._block_document_id, include_secrets=False
    )
    assert "hush" not in str(document.data)
    assert document.data["url"] == "memory://saved"


def test_a_block_travels_to_other_processes(saved: DatasetStore) -> None:
    assert cloudpickle.loads(cloudpickle.dumps(saved)) == saved


def test_a_url_needs_no_saved_block() -> None:
    assert choose_store("s3://bucket/prefix").url == "s3://bucket/prefix"
    assert choose_store("/data/store").url == "/data/store"
    assert choose_store("./store").url == "./store"


@pytest.mark.parametrize("name", ["default", "dataset-store/default"])
def test_a_name_is_a_saved_block(saved: DatasetStore, name: str) -> None:
    assert choose_store(name) == saved


def test_an_unknown_name_says_what_to_do() -> None:
    with pytest.raises(NotFoundError, match=r"nobody.*Save one in the Prefect UI.*\./nobody"):
        choose_store("nobody")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        choose_store(" ")


def test_the_saved_default_wins_over_the_environment(
    saved: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_DATASETS_STORE", "memory://environment")
    assert choose_store() == saved


def test_without_a_saved_default_the_environment_counts(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    assert choose_store().url == str(home / "datasets" / "store")
    monkeypatch.setenv("PREFECT_DATASETS_STORE", "memory://environment")
    assert choose_store().url == "memory://environment"


def test_a_block_can_be_a_parameter_by_reference(saved: DatasetStore) -> None:
    @flow
    def takes_a_store(store: DatasetStore) -> str:
        return store.url

    reference = {"$ref": {"block_document_slug": "dataset-store/default"}}
    assert takes_a_store(store=reference) == "memory://saved"  # pyright: ignore[reportArgumentType]


def test_a_saved_block_is_found_from_an_async_flow(saved: DatasetStore) -> None:
    @flow
    async def asks() -> str:
        return choose_store("default").url

    assert asyncio.run(asks()) == "memory://saved"


def test_the_cache_is_where_the_block_says(tmp_path: Path, home: Path) -> None:
    assert DatasetStore(url="memory://").cache().root == home / "datasets" / "cache"
    block = DatasetStore(url="memory://", cache_dir=str(tmp_path / "mine"), cache_bytes=5)
    assert (block.cache().root, block.cache().max_bytes) == (tmp_path / "mine", 5)


def test_check_finds_a_store_that_works(tmp_path: Path) -> None:
    DatasetStore(url=str(tmp_path / "store")).check()


@pytest.mark.parametrize("url", ["nothing://x", "/proc/no/such/place"])
def test_check_says_what_is_wrong(url: str) -> None:
    with pytest.raises(DatasetError):
        DatasetStore(url=url).check()


@pytest.mark.parametrize(
    ("argument", "variable", "choice", "packaging", "switch"),
    [
        (None, None, "metadata", None, None),
        (None, None, "on", True, None),
        (None, None, "off", False, None),
        (None, None, "auto", "auto", None),
        # Where the variable is set, the block is not asked.
        (None, "yes", "off", None, True),
        (None, "0", "on", None, False),
        # An argument wins over both.
        (False, "1", "on", False, True),
        (True, "0", "off", True, False),
        ("auto", None, "off", "auto", None),
    ],
)
def test_who_decides_on_packaging(
    monkeypatch: pytest.MonkeyPatch,
    argument: object,
    variable: str | None,
    choice: str,
    packaging: object,
    switch: object,
) -> None:
    if variable is not None:
        monkeypatch.setenv("VH_ENABLE_DATASET_VERSION_PACKAGING", variable)
    block = DatasetStore(url="memory://", packaging=choice)  # pyright: ignore[reportArgumentType]
    policy = block.policy(packaging=argument)  # pyright: ignore[reportArgumentType]
    assert (policy.packaging, policy.switch) == (packaging, switch)


def test_arguments_win_over_the_block() -> None:
    block = DatasetStore(url="memory://", individual_files=False, max_package_bytes=5)
    own = block.policy()
    assert (own.individual_files, own.max_package_bytes) == (False, 5)
    other = block.policy(individual_files=True, max_package_bytes=6)
    assert (other.individual_files, other.max_package_bytes) == (True, 6)
