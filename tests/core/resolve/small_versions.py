"""Small versions to resolve, and the calls that do."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.resolve.inputs import ResolvedInput, resolve_input
from prefect_datasets.core.resolve.resolve import Tree, resolve_version
from tests.core.published import publish, uri, write_files
from tests.core.trees import CountingStore

FILES = {
    "a/one": b"1" * 1000,
    "a/two": b"2" * 2000,
    "b/deep/er/three": b"3" * 10,
    "empty": b"",
    "b/\\odd:name é": b"x",
}
SMALL = CostModel(latency_seconds=0, request_bytes=4096, job_reads=8)


def put(
    out: Path, store: CountingStore, name: str, files: dict[str, bytes], **rest: Any
) -> VersionRecord:
    """Publish exactly these files as a version."""
    folder = out / uuid.uuid4().hex
    return publish(write_files(folder, files), store, name, **rest)


def get(store: CountingStore, cache: Cache, name: str = "v1", **rest: Any) -> Tree:
    return resolve_version(uri(name), store=store, cache=cache, **rest)


def take(store: CountingStore, cache: Cache, *uris: str, **rest: Any) -> ResolvedInput:
    return resolve_input(uris, store=store, cache=cache, **rest)
