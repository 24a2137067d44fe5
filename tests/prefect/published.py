"""A flow that publishes, as a user writes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from prefect_datasets import outputs, publish_outputs, write_metadata


def draw_images(out: Path, *, n_files: int = 4) -> None:
    """Write some files in two folders."""
    for number in range(n_files):
        file = out / ("cats", "dogs")[number % 2] / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes([number % 256]) * (100 + number))


# A flow as a user writes one, with what the tests want to vary.
@flow
def prepare(version: str, store: Any, n_files: int = 4, **options: Any) -> tuple[str, list[Any]]:
    with outputs() as out:
        draw_images(out, n_files=n_files)
        write_metadata(out, f"dataset://my-images/{version}", packaging=True)
        return flow_run.id, publish_outputs(out, store=store, **options)
