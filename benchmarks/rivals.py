"""Rivals that are Python: each a few lines, run as a process of its own.

    python -m benchmarks.rivals NAME ARGUMENT…

What a contender needs is imported where it is used, so that each pays for its own imports only.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def s3fs_get(prefix: str, target: str) -> None:
    """Fetch with s3fs's own recursive get, which fetches many files at once."""
    import s3fs

    filesystem = s3fs.S3FileSystem(endpoint_url=os.environ["BENCH_ENDPOINT"])
    filesystem.get(prefix.rstrip("/"), target, recursive=True)


def prefect_aws_pull(prefix: str, target: str) -> None:
    """Fetch with prefect-aws's deployment step `pull_from_s3`: a loop over the objects."""
    steps = _untyped("prefect_aws.deployments.steps")
    bucket, _, folder = prefix.removeprefix("s3://").partition("/")
    Path(target).mkdir()
    os.chdir(target)
    client = {"endpoint_url": os.environ["BENCH_ENDPOINT"]}
    steps.pull_from_s3(
        bucket=bucket, folder=folder.rstrip("/"), credentials={}, client_parameters=client
    )


def clearml_get(package: str, target: str) -> None:
    """Fetch and unpack a zip with the part of ClearML that its `Dataset` does it with."""
    manager = _untyped("clearml").StorageManager
    found = manager.get_local_copy(package, cache_context="datasets", extract_archive=True)
    assert found is not None
    Path(target).symlink_to(found)


def zipfile_extract(package: str, target: str) -> None:
    """Unpack with Python's zipfile."""
    import zipfile

    with zipfile.ZipFile(package) as archive:
        archive.extractall(target)


def zipfile_pack(root: str, package: str) -> None:
    """Pack with Python's zipfile, uncompressed."""
    import zipfile

    with zipfile.ZipFile(package, "w") as archive:
        for path in sorted(Path(root).rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(root))


def read_bytes(n_at_once: str, n_mib: str, *packages: str) -> None:
    """Fetch the bytes alone by ranged reads and drop them."""
    from concurrent.futures import ThreadPoolExecutor

    import obstore
    from obstore.store import S3Store

    options: Any = {"allow_http": True}
    step = int(n_mib) << 20
    for package in packages:
        bucket, _, key = package.removeprefix("s3://").partition("/")
        store = S3Store(bucket, endpoint=os.environ["BENCH_ENDPOINT"], client_options=options)
        size = obstore.head(store, key)["size"]
        ranges = [(store, key, at, min(at + step, size)) for at in range(0, size, step)]
        with ThreadPoolExecutor(int(n_at_once)) as pool:
            assert sum(pool.map(_read_range, *zip(*ranges, strict=True))) == size


def _read_range(store: Any, key: str, start: int, end: int) -> int:
    import obstore

    return len(obstore.get_range(store, key, start=start, end=end))


def warm_engine(store: str, cache: str, uri: str) -> None:
    """Print how long a warm resolve takes in a process that has everything imported."""
    import time

    from prefect_datasets.core.cache.cache import Cache
    from prefect_datasets.core.resolve.resolve import StoreSpec, resolve_version
    from prefect_datasets.core.uri import DatasetUri

    seconds: list[float] = []
    for _ in range(21):
        begin = time.perf_counter()
        spec, there = StoreSpec(store), Cache(Path(cache))
        tree = resolve_version(DatasetUri.parse(uri), store=spec, cache=there)
        seconds.append(time.perf_counter() - begin)
        assert tree.is_warm
    print(json.dumps({"engine_seconds": sorted(seconds)[len(seconds) // 2]}))


def _untyped(name: str) -> Any:
    """Import what only the extra `bench` brings, and what has no types."""
    from importlib import import_module

    return import_module(name)


RIVALS: dict[str, Callable[..., None]] = {
    "s3fs": s3fs_get,
    "prefect-aws": prefect_aws_pull,
    "clearml": clearml_get,
    "unzip": zipfile_extract,
    "zip": zipfile_pack,
    "bytes": read_bytes,
    "warm": warm_engine,
}

if __name__ == "__main__":
    RIVALS[sys.argv[1]](*sys.argv[2:])
