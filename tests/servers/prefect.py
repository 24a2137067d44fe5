"""Prefect servers, with their pages and all their services, as a person runs them."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.environment import clean_environment
from tests.servers.process import free_ports, running, wait_until_answers


class PrefectServer(NamedTuple):
    """A running Prefect server.

    Attributes:
        ui: Address of its pages.
        environment: What a process gets to use it; its home is the server's too.
    """

    ui: str
    environment: dict[str, str]

    @property
    def api(self) -> str:
        """Address of its API."""
        return f"{self.ui}/api"

    def ask(self, what: str, body: dict[str, Any] | None = None) -> Any:
        """Ask its API, by GET where there is no body; an OSError where it has no answer."""
        headers = {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.api}/{what}", data, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as reply:
            return json.load(reply)


def of_client(ui: str, home: Path) -> dict[str, str]:
    """Return the environment of a process that uses a server."""
    return {
        **clean_environment(home),
        "PREFECT_API_URL": f"{ui}/api",
        # Those who wait for work, or have something to say, do not wait long.
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
    }


@contextmanager
def prefect_server(folder: Path, *, database: str = "") -> Generator[PrefectServer]:
    """Run a Prefect server.

    Args:
        folder: Its home.
        database: URL of its database; left out, SQLite in its home.
    """
    (port,) = free_ports(1)
    ui = f"http://127.0.0.1:{port}"
    environment = of_client(ui, folder)
    of_server = {
        # The pages learn the address from this, and not from the option of the command.
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # SQLite takes one writer at a time; on a busy machine the others wait longer.
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
    }
    if database:
        of_server["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
    command = [sys.executable, "-m", "prefect", "server", "start"]
    with running(command, folder, env={**environment, **of_server}) as process:
        wait_until_answers(f"{ui}/api/health", process, seconds=240)
        yield PrefectServer(ui, environment)
