"""Versions that are stored in part, and days that pass in their store."""

from __future__ import annotations

import os
from pathlib import Path

from prefect_datasets.core.format.record import Part
from prefect_datasets.core.publish.plan import Plan
from prefect_datasets.core.publish.publish import begin, plan_directory, publish_part
from prefect_datasets.core.store import Store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions.verify import verify
from tests.core.published import declare

FILES = {"a": b"1", "b": b"22", "c": b"333"}
HOUR = 3600.0


def plan(out: Path, store: Store, name: str, *, packaging: bool) -> Plan:
    return plan_directory(out, store=store, to=[declare(name, packaging=packaging)])


def store_parts(planned: Plan, store: Store) -> list[Part]:
    begin(planned, store=store)
    return [publish_part(part, store=store) for part in planned.versions[0].parts]


def days_pass(root: Path, days: float = 3) -> None:
    """Let everything in a store be older."""
    for path in root.rglob("*"):
        if path.is_file():
            moment = path.stat().st_mtime - days * 24 * HOUR
            os.utime(path, (moment, moment))


def is_whole(store: Store, version: DatasetUri) -> bool:
    return verify(version, store=store, deep=True).faults == ()
