"""The server of a stage: started in its namespace, asked to make buckets and to count requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.links import Network
from tests.servers.s3 import KEY, SECRET

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Server:
    """A running S3 server.

    Attributes:
        network: How it is reached.
        port: Its port on each of the network's addresses.
    """

    network: Network
    port: int
    _process: subprocess.Popen[str]
    _numbers: count[int]

    def ask(self, command: str) -> Any:
        """Send a command of `benchmarks.served` and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return _answer(self._process)

    def n_requests(self) -> int:
        """Return the number of S3 requests since the start."""
        return self.ask("count")

    @contextmanager
    def bucket(self) -> Generator[str]:
        """Make an empty bucket, return its URL, drop it with all that is in it at the end."""
        name = f"bench-{next(self._numbers)}"
        self.ask(f"make {name}")
        try:
            yield f"s3://{name}"
        finally:
            self.ask(f"drop {name}")

    def environment(self, link: str, home: Path) -> dict[str, str]:
        """Return an environment in which every contender finds the server by way of the link."""
        endpoint = f"http://{self.network.addresses[link]}:{self.port}"
        kept = {name: value for name, value in os.environ.items() if not _is_ours(name)}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
        return {**kept, **_FIXED, **_named(endpoint), "HOME": str(home), "PATH": path}


@contextmanager
def serving(network: Network, folder: Path) -> Generator[Server]:
    """Run a server on empty folders."""
    command = [*network.server_prefix(), sys.executable, "-m", "benchmarks.served"]
    with subprocess.Popen(
        [*command, str(folder), network.bind],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Server(network, _answer(process)["port"], process, count())


def _answer(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("The server ended")
    return json.loads(line)


def _is_ours(name: str) -> bool:
    return name.startswith(("PREFECT_", "AWS_", "RCLONE_", "DVC_", "CLEARML_", "VH_"))


def _named(endpoint: str) -> dict[str, str]:
    """Say the address to each contender in its own words."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "S3_ENDPOINT_URL": endpoint,
        "RCLONE_CONFIG_BENCH_ENDPOINT": endpoint,
        "BENCH_ENDPOINT": endpoint,
        "PYTHONPATH": str(ROOT),
    }


_FIXED = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "RCLONE_CONFIG_BENCH_TYPE": "s3",
    "RCLONE_CONFIG_BENCH_PROVIDER": "SeaweedFS",
    "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "no_proxy": "127.0.0.1,localhost,198.18.0.1",
}
