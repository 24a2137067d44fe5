"""A Prefect server that is killed while a flow runs: the data work ends, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from prefect_datasets.core.metadata.write import write_metadata
from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions.catalog import find
from prefect_datasets.core.versions.verify import verify
from tests.environment import clean_environment
from tests.servers.process import free_ports, running, wait_until_answers

# The flow kills its own server: nothing else knows as well when it is in the middle of its work.
FLOW = """
    import os, signal, sys
    from pathlib import Path
    from prefect import flow
    from prefect_datasets import publish_outputs, resolve_inputs, write_metadata

    @flow
    def prepare(files: str, store: str) -> None:
        publish_outputs(Path(files) / "first", store=store)
        os.killpg(int(os.environ["SERVER"]), signal.SIGKILL)
        source = resolve_inputs({"source": "dataset://kept/v1"}, store=store)["source"]
        assert (source / "0.txt").read_text() == "0" * 100
        versions = publish_outputs(Path(files) / "second", store=store, max_package_bytes=500)
        print("published", [version.uri for version in versions], flush=True)

    prepare(*sys.argv[1:])
"""


@pytest.mark.timeout(300)
def test_a_version_is_committed_without_the_api(tmp_path: Path) -> None:
    for folder, version, base in (("first", "v1", ""), ("second", "v2", "dataset://kept/v1")):
        _write(tmp_path / folder, version, base)
    script = tmp_path / "flow.py"
    script.write_text(textwrap.dedent(FLOW))
    home = tmp_path / "home"
    home.mkdir()
    (port,) = free_ports(1)
    environment = {
        **clean_environment(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_PORT": str(port),
        # Prefect itself asks twice more for a minute, to say how the run ended.
        "PREFECT_CLIENT_MAX_RETRIES": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
    with running(command, home, env=environment) as server:
        wait_until_answers(f"{environment['PREFECT_API_URL']}/health", server, seconds=150)
        ended = subprocess.run(
            [sys.executable, str(script), str(tmp_path), str(tmp_path / "store")],
            env={**environment, "SERVER": str(server.pid)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert "published ['dataset://kept/v2']" in ended.stdout, ended.stderr
    assert "No table 'resolved-inputs'" in ended.stderr
    store = open_store(str(tmp_path / "store"))
    uri = DatasetUri("kept", "v2")
    assert (find(store, uri).n_files, find(store, uri).parent) == (11, "dataset://kept/v1")
    assert verify(uri, store=store, deep=True).is_whole
    # The run can't be told as completed, which is Prefect's to say.
    assert ended.returncode != 0
    assert "httpx.Connect" in ended.stderr


def _write(folder: Path, version: str, base: str) -> None:
    folder.mkdir()
    names = range(10) if not base else (10,)
    for number in names:
        (folder / f"{number}.txt").write_text(str(number)[-1] * 100)
    write_metadata(folder, f"dataset://kept/{version}", packaging=True, from_version=base or None)
