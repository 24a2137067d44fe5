"""Trees in a cache, made by hand."""

from __future__ import annotations

import os

from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.attempt import Attempt
from prefect_datasets.core.cache.cache import VERSIONS, Cache, Entry, Ready
from prefect_datasets.core.uri import DatasetUri

DAY = 86_400.0
URI = DatasetUri("pets", "v1")
DIGEST = "0123456789abcdef" * 4


def fill(cache: Cache, name: str, files: dict[str, bytes], *, used: float | None = None) -> Entry:
    """Make a tree by hand, that nobody uses."""
    entry = Entry(cache.root, VERSIONS, "pets", name)
    attempt = Attempt(cache, entry)
    for path, content in files.items():
        (attempt.files / path).parent.mkdir(parents=True, exist_ok=True)
        (attempt.files / path).write_bytes(content)
    n_bytes = sum(map(len, files.values()))
    assert attempt.publish(Ready(f"dataset://pets/{name}", DIGEST, len(files), n_bytes))
    for lease in entry.leases.iterdir():
        leases.give_back(lease)
    if used is not None:
        os.utime(entry.ready, (used, used))
    return entry
