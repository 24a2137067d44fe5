"""What every test may ask for: real stores, started with the first test that does.

Nothing here imports Prefect before a test asks for its server.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.servers import others, s3
from tests.servers.process import MissingServerError, Served, unavailable

# A shell that starts tests in the background has them ignore Ctrl-C, and so what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Servers that take seconds to start: of the processes that run the tests, one has all that ask.
_COSTLY = ("prefect_api", "ceph", "azurite")

Server = Callable[[Path], AbstractContextManager[Served]]


def _started(server: Server, factory: pytest.TempPathFactory) -> Generator[Served]:
    """Run a server for the session; one that isn't installed skips, except in CI."""
    try:
        with server(factory.mktemp(server.__name__)) as served:
            yield served
    except MissingServerError as error:
        unavailable(error)


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """S3 by SeaweedFS: checks signatures and checksums."""
    yield from _started(s3.seaweedfs, tmp_path_factory)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """S3 by MiniStack: conditions as on Amazon, no signatures."""
    yield from _started(s3.ministack, tmp_path_factory)


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """S3 by Ceph's gateway: an on-premises store of 2021."""
    yield from _started(s3.ceph, tmp_path_factory)


@pytest.fixture(scope="session")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """Google Cloud Storage by fake-gcs-server."""
    yield from _started(others.fake_gcs, tmp_path_factory)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """Azure Blob Storage by Azurite."""
    yield from _started(others.azurite, tmp_path_factory)


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """URL of the API of a Prefect server; Prefect in this process uses it too."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_HOME,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    own: dict[Any, object] = {
        PREFECT_HOME: tmp_path_factory.mktemp("prefect-home"),
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    with temporary_settings(own), prefect_test_harness(server_startup_timeout=280):
        yield PREFECT_API_URL.value()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes run tests, where nobody says so."""
    del config
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # xdist looks at the groups as it collects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests together that share a costly server; to start it counts for the first of them."""
    for item in items:
        asked_for: list[str] = getattr(item, "fixturenames", [])
        for server in _COSTLY:
            if server in asked_for:
                item.add_marker(pytest.mark.xdist_group(server))
        if "prefect_api" in asked_for:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture
def fresh_prefix() -> str:
    """A name that no other test uses: the root of a store of one's own in a shared bucket."""
    return f"test-{uuid.uuid4().hex[:12]}"
