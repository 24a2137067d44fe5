"""What the Prefect API does not take when flows are served is one error that says so."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import get_client
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from prefect_datasets import DatasetStore
from prefect_datasets.core.errors import StoreError
from prefect_datasets.flows import check_store, serve
from tests.servers.process import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect.deployments.runner import RunnerDeployment


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(url=str(tmp_path / "store"))


@pytest.fixture
def name() -> Iterator[str]:
    """Name of a deployment of `check-store` that no other test has; gone afterwards."""
    name = f"refused-{uuid.uuid4().hex[:8]}"
    yield name
    with get_client(sync_client=True) as client:
        found = [each for each in client.read_deployments() if each.name == name]
        for each in found:
            client.delete_deployment(each.id)


def deployment(name: str, **parameters: object) -> RunnerDeployment:
    made: Any = check_store.to_deployment(name, parameters=parameters)
    return made


@pytest.mark.parametrize("is_there_already", [False, True])
def test_a_refused_deployment_is_named_with_the_servers_words(
    store: DatasetStore, name: str, is_there_already: bool
) -> None:
    runner = Runner()
    if is_there_already:
        serve._add(runner, deployment(name, store=serve.saved(store)))
    with pytest.raises(StoreError) as caught:
        serve._add(runner, deployment(name, store=5))
    assert caught.value.subject == f"check-store/{name}"
    assert re.fullmatch(
        r"The Prefect API did not take the deployment \([^{]*Validation failed for field 'store'\. "
        r"Failure reason: 5 is not [^{]*\)",
        caught.value.message,
    )


def test_where_the_api_is_gone_the_block_is_named(store: DatasetStore) -> None:
    (port,) = free_ports(1)
    gone: dict[Any, object] = {
        PREFECT_API_URL: f"http://127.0.0.1:{port}/api",
        PREFECT_CLIENT_MAX_RETRIES: 0,
    }
    with (
        temporary_settings(gone),
        pytest.raises(StoreError, match=r"did not take the block .*: dataset-store/served\."),
    ):
        serve.saved(store)
