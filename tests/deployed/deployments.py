"""Deploy two shipped flows to a work pool and run them, in a process of its own.

    python deployments.py POOL STORE DIRECTORY

The first run publishes the directory, the second fetches the version into the store's cache. What
became of them is printed as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments import run_deployment
from prefect.types.entrypoint import EntrypointType

from prefect_datasets import DatasetStore
from prefect_datasets.flows import publish_directory, warm_cache


def main(pool: str, store: str, directory: str) -> None:
    """Deploy, and run one after the other."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    DatasetStore(url=store, cache_dir=f"{store}-cache", packaging="on").save(pool)
    publish = {"directory": directory, "dataset": "pets", "version": "v1"}
    warm = {"uris": ["dataset://pets/v1"]}
    states = {
        flow.name: _run(flow, pool, parameters)
        for flow, parameters in ((publish_directory, publish), (warm_cache, warm))
    }
    print(json.dumps(states))


def _run(flow: Flow[..., Any], pool: str, parameters: dict[str, Any]) -> list[str]:
    flow.deploy(
        pool,
        work_pool_name=pool,
        entrypoint_type=EntrypointType.MODULE_PATH,
        print_next_steps=False,
    )
    block = {"$ref": {"block_document_slug": f"dataset-store/{pool}"}}
    found: Any = run_deployment(
        f"{flow.name}/{pool}",
        parameters={"store": block, **parameters},
        timeout=150,
        poll_interval=0.5,
    )
    return [str(found.state.type.value), str(found.state.message)]


if __name__ == "__main__":
    main(*sys.argv[1:])
