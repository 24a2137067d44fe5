"""Serve what the pages' tests run, in a process of its own.

    python served.py STORE FOLDER

In the folder are a valohai.yaml and what is published each night.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from prefect.runner import Runner
from prefect.schedules import Cron

from prefect_datasets import DatasetStore
from prefect_datasets.examples import train_on_new_version
from prefect_datasets.flows.recurring import publish_recurring
from prefect_datasets.flows.serve import deployments
from prefect_datasets.flows.step_deployment import step_flow
from prefect_datasets.flows.triggers import on_new_version


def main(store: DatasetStore, folder: Path) -> None:
    """Serve the shipped flows, a step, a nightly version and a training on each new version."""
    runner: Any = Runner()  # Prefect types what is called here as if it gave coroutines
    for deployment in deployments(store):
        runner.add_deployment(deployment)
    runner.add_flow(
        step_flow("train", file=folder / "valohai.yaml"),
        name="of-the-step",
        parameters={"store": store},
    )
    runner.add_flow(
        publish_recurring,
        name="nightly",
        schedules=[Cron("0 2 * * *", timezone="Europe/Berlin")],
        parameters={
            "store": store,
            "source": str(folder / "sensors"),
            "dataset": "sensor-data",
            "version": "{scheduled@Europe/Berlin:%Y-%m-%d}",
            "options": {"aliases": ["nightly"]},
        },
    )
    runner.add_flow(
        train_on_new_version.train,
        name="on-new-version",
        triggers=[on_new_version("sensor-data")],
        parameters={"store": store},
    )
    asyncio.run(runner.start())


if __name__ == "__main__":
    block = DatasetStore(url=sys.argv[1], packaging="on")
    block.save("shelf", overwrite=True)
    main(block, Path(sys.argv[2]))
