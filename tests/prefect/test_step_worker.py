"""A step as a deployment that a process worker runs, and that somebody cancels."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments import run_deployment
from prefect.settings import get_current_settings
from prefect.states import Cancelling
from prefect.types.entrypoint import EntrypointType

from prefect_datasets import DatasetStore
from prefect_datasets.flows.run_step import run_step
from tests.environment import clean_environment
from tests.prefect import observe
from tests.valohai.steps import all_gone, processes, until

FILE = """
- step:
    name: wait
    image: python:3.11
    command:
      - echo kept > /valohai/outputs/kept
      - (setsid sleep {parameter-value:nap} &) ; echo ready; sleep {parameter-value:nap}
    parameters:
      - name: nap
        type: string
"""


@contextmanager
def worker(pool: str, home: Path) -> Generator[None]:
    """Run a process worker."""
    environment = {
        **clean_environment(home),
        "PREFECT_API_URL": str(get_current_settings().api.url),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PYTHONPATH": os.pathsep.join(["src"]),
    }
    command = ["prefect", "worker", "start", "--pool", pool, "--type", "process"]
    with (
        (home / "worker.log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cancelled_run_leaves_nothing_running(tmp_path: Path) -> None:
    nap = f"99.{uuid.uuid4().int % 10**15}"
    name = f"of-test-{uuid.uuid4().hex[:8]}"
    (tmp_path / "valohai.yaml").write_text(FILE)
    store = DatasetStore(url=str(tmp_path / "store"), cache_dir=str(tmp_path / "cache"))
    store.save(name)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    run_step.deploy(
        name,
        work_pool_name=name,
        entrypoint_type=EntrypointType.MODULE_PATH,
        print_next_steps=False,
    )
    parameters: dict[str, Any] = {
        "store": {"$ref": {"block_document_slug": f"dataset-store/{name}"}},
        "step": "wait",
        "file": str(tmp_path / "valohai.yaml"),
        "parameters": {"nap": nap},
    }
    with worker(name, tmp_path):
        run: Any = run_deployment(f"run-step/{name}", parameters=parameters, timeout=0)
        assert until(lambda: len(processes(f"sleep\0{nap}")) == 2, seconds=150), observe.logs(
            run.id
        )
        observe.eventually(lambda: [line for line in observe.logs(run.id) if line == "ready"])
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Cancelling())
            assert until(
                lambda: str(client.read_flow_run(run.id).state_name) == "Cancelled", seconds=90
            ), observe.logs(run.id)
        assert all_gone(nap)
    (files,) = (tmp_path / "store").glob("outputs/*/files")
    assert [path.name for path in files.iterdir()] == ["kept"], "what it wrote is stored"
