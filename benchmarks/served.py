"""The S3 server as a process of its own, which can so live in a network namespace.

    python -m benchmarks.served FOLDER BIND

It answers each line on standard input with a line of JSON: `make BUCKET`, `drop BUCKET` (with all
that is in it), `count` (requests so far, from the server's own metrics). It ends with its input.
"""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.servers.process import free_ports, wait_until_answers
from tests.servers.s3 import s3_client, seaweedfs

_COUNTED = re.compile(rb"^SeaweedFS_s3_request_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


def main() -> None:
    """Serve until the input ends."""
    folder, bind = sys.argv[1:]
    (metrics_port,) = free_ports(1)
    flags = (f"-metricsPort={metrics_port}", "-s3.allowDeleteBucketNotEmpty=true")
    with seaweedfs(Path(folder), bind=bind, more_flags=flags) as served:
        metrics = f"http://127.0.0.1:{metrics_port}/metrics"
        wait_until_answers(metrics)
        endpoint = str(served.options["endpoint_url"])
        client = s3_client(endpoint)
        commands: dict[str, Callable[..., object]] = {
            "make": partial(_change, client.create_bucket),
            "drop": partial(_change, client.delete_bucket),
            "count": lambda: _count(metrics),
        }
        _say({"port": int(endpoint.rpartition(":")[2])})
        for line in sys.stdin:
            name, *arguments = line.split()
            _say(commands[name](*arguments))
        client.close()


def _change(change: Callable[..., object], bucket: str) -> None:
    change(Bucket=bucket)


def _count(url: str) -> int:
    """Return the number of requests, once the last ones are counted."""
    before, now = -1, _read(url)
    while now != before:
        time.sleep(0.05)
        before, now = now, _read(url)
    return now


def _read(url: str) -> int:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
        return sum(int(float(number)) for number in _COUNTED.findall(answer.read()))


def _say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
