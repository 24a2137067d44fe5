"""Publish and resolve by deployments that a process worker runs, on each database of a server.

The pages' tests serve flows without a pool; the demo's have no server but Prefect's throw-away one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from tests.servers.postgresql import postgresql
from tests.servers.prefect import PrefectServer, of_client, prefect_server
from tests.servers.process import MissingServerError, program, running, unavailable

SCRIPT = Path(__file__).with_name("deployments.py")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def check(server: PrefectServer, folder: Path) -> None:
    """Publish and resolve by runs of deployments, and look at what they leave."""
    pets, store, pool = folder / "pets", folder / "store", f"pool-{uuid.uuid4().hex[:8]}"
    for name in ("cats/tom", "cats/kit", "dogs/rex"):
        (pets / name).parent.mkdir(parents=True, exist_ok=True)
        (pets / name).write_text(name * 100)
    worker = [program("prefect"), "worker", "start", "--pool", pool, "--type", "process"]
    script = subprocess.Popen(
        [sys.executable, SCRIPT, pool, store, pets],
        env=server.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with script, running(worker, folder, env=server.environment):
        told, _ = script.communicate(timeout=350)
    assert script.returncode == 0
    states = json.loads(told.splitlines()[-1])
    assert {flow: state for flow, (state, _) in states.items()} == {
        "publish-directory": "COMPLETED",
        "warm-cache": "COMPLETED",
    }, (states, (folder / "prefect.log").read_text())
    record = catalog.find(open_store(str(store)), DatasetUri.parse("dataset://pets/v1"))
    assert (record.n_files, len(record.packages)) == (3, 1)
    (tree,) = (folder / "store-cache" / "versions" / "pets").glob("v1-*/files")
    assert contents(tree) == contents(pets)


def test_on_sqlite(prefect_api: str, tmp_path: Path) -> None:
    ui = prefect_api.removesuffix("/api")
    check(PrefectServer(ui, of_client(ui, tmp_path)), tmp_path)


def test_on_postgresql(tmp_path: Path) -> None:
    try:
        with postgresql() as database, prefect_server(tmp_path, database=database) as server:
            check(server, tmp_path)
    except MissingServerError as error:
        unavailable(error)
