"""A store that counts its reads, a cache and a folder for each test; processes write too."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.resolve import writers
from tests.core.trees import CountingStore


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes write the few files as well."""
    monkeypatch.setattr(writers, "_LEAST_FILES", 0)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    (tmp_path / "store").mkdir()
    return CountingStore(tmp_path / "store", tmp_path / "reads")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
