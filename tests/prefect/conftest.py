"""One Prefect server for all tests here, and a home of its own for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_TO_API_BATCH_INTERVAL,
    temporary_settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLES = (
    "PREFECT_DATASETS_STORE",
    "PREFECT_DATASETS_CACHE",
    "VH_ENABLE_DATASET_VERSION_PACKAGING",
    "VH_OUTPUTS_DIR",
)


@pytest.fixture(scope="session", autouse=True)
def prefect_server(prefect_api: str) -> Iterator[None]:
    """Use one server for the whole session: starting one takes as long as all tests here."""
    quick: dict[Any, object] = {
        # The thread that sends heartbeats sleeps a second in every flow run.
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_LOGGING_TO_API_BATCH_INTERVAL: 0.2,
    }
    with temporary_settings(updates=quick):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Prefect leave sockets open, as it does after every async flow."""
    here = Path(__file__).parent
    leaves_sockets = pytest.mark.filterwarnings("ignore:.*socket:ResourceWarning")
    for item in items:
        if here in item.path.parents:
            item.add_marker(leaves_sockets)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Prefect home directory of the test's own, and none of the machine's settings."""
    for variable in _VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("PREFECT_HOME", str(home))
    return home
