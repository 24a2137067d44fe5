"""Flows that look after what is there: verify a version, free a cache, publish a prefix."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from prefect.types import SecretDict

from prefect_datasets import DatasetStore, resolve_inputs
from prefect_datasets.core.errors import IntegrityError, InvalidInputError
from prefect_datasets.core.store import open_store
from prefect_datasets.flows import (
    prune_cache,
    publish_directory,
    publish_prefix,
    verify_version,
)
from prefect_datasets.flows.prefix import PrefixOptions
from prefect_datasets.flows.publish import PublishOptions
from tests.prefect import observe
from tests.servers.process import Served

URI = "dataset://pets/v1"


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    """A store with one packaged version of three files."""
    folder = tmp_path / "pets"
    folder.mkdir()
    for name in ("cat", "dog", "emu"):
        (folder / f"{name}.txt").write_text(f"I am a {name}\n" * 100)
    block = DatasetStore(url=str(tmp_path / "store"), cache_dir=str(tmp_path / "cache"))
    publish_directory(block, str(folder), "pets", "v1", options=PublishOptions(packaging="on"))
    return block


def damage(store: DatasetStore, name: str) -> None:
    (file,) = Path(store.url).glob(f"outputs/*/files/{name}")
    file.chmod(0o644)
    file.write_text("I am a cow\n" * 100 + "." * 100)


def test_a_damaged_version_fails_until_it_is_repaired(store: DatasetStore) -> None:
    assert verify_version(store, URI, depth="deep").is_whole
    damage(store, "cat.txt")
    with pytest.raises(IntegrityError, match=r"cat\.txt.*Run this again with repair") as failed:
        verify_version(store, "dataset://pets/latest", depth="deep")
    assert "\n" not in str(failed.value)
    assert observe.eventually(
        lambda: [
            event
            for event in observe.events(URI)
            if event["event"] == "prefect-datasets.verification.failed"
        ]
    )
    report = verify_version(store, URI, depth="deep", repair=True)
    assert (len(report.faults), report.is_whole) == (1, True)
    assert verify_version(store, URI, depth="deep").faults == ()


def test_pruning_shows_first_and_frees_then(store: DatasetStore) -> None:
    resolve_inputs({"pets": URI}, store=store)
    cache = Path(store.cache_dir)
    for lease in cache.rglob("leases/*"):
        lease.unlink()  # of this process, which is using what it resolved
    budget = prune_cache(store, keep="10G", apply=True)
    assert (budget.n_freed, budget.n_bytes) == (0, 0), "there is room"
    shown = prune_cache(store, keep="0")
    assert (shown.n_freed, shown.is_done) == (1, False)
    assert list(cache.rglob("cat.txt"))
    assert prune_cache(store, keep="0", apply=True).n_freed == 1
    assert not list(cache.rglob("cat.txt"))


def test_a_prefix_elsewhere_becomes_a_version(
    seaweedfs: Served, fresh_prefix: str, store: DatasetStore
) -> None:
    raw = open_store(f"{seaweedfs.url}/{fresh_prefix}", seaweedfs.options)
    for name in ("a.csv", "deep/b.csv", "c.txt"):
        raw.write(name, name.encode())
    credentials = f"of-test-{uuid.uuid4().hex[:8]}"
    DatasetStore(url=seaweedfs.url, secrets=SecretDict(dict(seaweedfs.options))).save(credentials)
    options = PrefixOptions(include=["**/*.csv"], credentials=credentials, aliases=["raw"])
    (version,) = publish_prefix(store, raw.url, "readings", "v1", options)
    assert (version.uri, version.n_files) == ("dataset://readings/v1", 2)
    folder = resolve_inputs({"in": "dataset://readings/raw"}, store=store)["in"]
    assert (folder / "deep" / "b.csv").read_text() == "deep/b.csv"
    with pytest.raises(InvalidInputError, match="Nothing says which dataset version to make"):
        publish_prefix(store, raw.url, options=PrefixOptions(credentials=credentials))
