"""What the Prefect layer costs over the bare engine: time, requests to the API, events.

    python -m benchmarks.prefect_layer [--files 100000] [--rounds 3] [--work /dev/shm]

Files of 1 to 10 kB are published as one packaged version into a folder and resolved into an empty
cache, by the engine alone and by the flows `publish-directory` and `warm-cache`, in turn, each time
in fresh processes. The flows use a Prefect server on SQLite that was started before, here;
its access log tells the requests.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_REQUEST = re.compile(r'"(?P<method>[A-Z]+) (?P<path>/api/[^ ?"]*)[^"]*" \d+')
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
_SETTLE_SECONDS = 3.0

_BARE = """
import sys, time
from pathlib import Path
from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.publish import publish as engine
from prefect_datasets.core.resolve.inputs import resolve_input
from prefect_datasets.core.store_spec import StoreSpec
from prefect_datasets.core.uri import DatasetUri
files, root, work = sys.argv[1:]
store = StoreSpec(root)
if work == "publish":
    engine.publish_directory(
        Path(files),
        store=store.open(),
        to=[VersionDeclaration(DatasetUri("files", "v1"))],
        policy=engine.Policy(packaging=True, individual_files=False),
    )
else:
    resolve_input(["dataset://files/v1"], store=store, cache=Cache(Path(root) / "cache"))
"""

_FLOWS = """
import os, sys
from prefect_datasets import DatasetStore
from prefect_datasets.flows import PublishOptions, publish_directory, warm_cache
files, root, work = sys.argv[1:]
store = DatasetStore(url=root)
if work == "publish":
    options = PublishOptions(packaging="on", individual_files="off")
    publish_directory(store, files, dataset="files", version="v1", options=options)
else:
    os.environ["PREFECT_DATASETS_CACHE"] = root + "/cache"
    warm_cache(store, ["dataset://files/v1"])
"""

_EMPTY = """
from prefect import flow
@flow
def empty() -> None: ...
empty()
"""


class Server(NamedTuple):
    """A Prefect server and its access log."""

    api: str
    log: Path

    def requests(self, since: int) -> Counter[str]:
        """Count the requests that the log tells of after its first `since` bytes, by kind."""
        text = self.log.read_bytes()[since:].decode(errors="replace")
        return Counter(
            f"{found['method']} {_ID.sub('ID', found['path'])}" for found in _REQUEST.finditer(text)
        )

    def events(self) -> int:
        """Count the events that the server has taken in."""
        body = json.dumps({"filter": {}, "limit": 1}).encode()
        asked = urllib.request.Request(
            f"{self.api}/events/filter", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)["total"]


class Run(NamedTuple):
    """What one process took."""

    seconds: float
    requests: Counter[str]
    events: int


@contextmanager
def serving(work: Path) -> Generator[Server]:
    """Run a Prefect server while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}/api", work / "server.log")
    environment = _environment(work) | {
        "PREFECT_LOGGING_SERVER_LEVEL": "INFO",
        "PREFECT_SERVER_LOGGING_LEVEL": "INFO",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", str(port)]
    with server.log.open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        process.wait()


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"{server.api}/health").close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"The server ended: {server.log}")


def _environment(work: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {
        "PREFECT_HOME": str(work / "home"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def write_files(folder: Path, n_files: int) -> int:
    """Write files of 1 to 10 kB, 500 to a folder; return their bytes."""
    made, n_bytes = random.Random(7), 0
    for number in range(n_files):
        if number % 500 == 0:
            (folder / f"{number // 500:04}").mkdir(parents=True)
        size = made.randrange(1_000, 10_000)
        (folder / f"{number // 500:04}" / f"{number:07}.bin").write_bytes(made.randbytes(size))
        n_bytes += size
    return n_bytes


def measure(script: str, work: Path, what: str, server: Server | None) -> Run:
    """Run a process and count what it asked of the server."""
    environment = _environment(work)
    if server:
        environment["PREFECT_API_URL"] = server.api
    since = server.log.stat().st_size if server else 0
    before = server.events() if server else 0
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", script, str(work / "files"), str(work / "store"), what],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - begin
    if server is None:
        return Run(seconds, Counter(), 0)
    asked = server.requests(since)
    time.sleep(_SETTLE_SECONDS)  # the server takes in the last events
    asked -= Counter({"POST /api/events/filter": 1})
    return Run(seconds, asked, server.events() - before)


def play(work: Path, rounds: int, server: Server) -> dict[str, list[Run]]:
    """Run all in turn, the order changing from round to round."""
    found: dict[str, list[Run]] = {}
    ways = [("engine", _BARE, None), ("flow", _FLOWS, server)]
    for number in range(rounds):
        for name, script, used in ways if number % 2 == 0 else reversed(ways):
            shutil.rmtree(work / "store", ignore_errors=True)
            for what in ("publish", "resolve"):
                run = measure(script, work, what, used)
                found.setdefault(f"{what} by the {name}", []).append(run)
        found.setdefault("an empty flow", []).append(measure(_EMPTY, work, "", server))
    return found


def report(found: dict[str, list[Run]]) -> str:
    """Describe what was found as Markdown."""
    lines = ["| | seconds, median (least to most) | requests | events |", "|---|---|---|---|"]
    for name, runs in found.items():
        seconds = sorted(run.seconds for run in runs)
        middle = statistics.median(seconds)
        requests = max(run.requests.total() for run in runs)
        spread = f"{middle:.1f} ({seconds[0]:.1f} to {seconds[-1]:.1f})"
        lines.append(f"| {name} | {spread} | {requests} | {max(run.events for run in runs)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description="Measure the Prefect layer.")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--kinds", action="store_true", help="tell the requests by kind")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.work) as folder:
        work = Path(folder)
        n_bytes = write_files(work / "files", chosen.files)
        with serving(work) as server:
            found = play(work, chosen.rounds, server)
    print(f"{chosen.files:,} files, {n_bytes / 1e6:,.0f} MB, {os.cpu_count()} processors")
    print(report(found))
    for name, runs in found.items() if chosen.kinds else ():
        print(
            name,
            *(f"  {count} {kind}" for kind, count in runs[-1].requests.most_common()),
            sep="\n",
        )


if __name__ == "__main__":
    main()
