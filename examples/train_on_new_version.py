"""Train whenever a dataset has a new version: a flow of one's own, started by an automation.

Run it as it stands against a Prefect server, then publish a version of `sensor-data`:

    python train_on_new_version.py
"""

from pathlib import Path

from prefect import flow

from prefect_datasets import DatasetStore, on_new_version, once_per_version, resolve_inputs
from prefect_datasets.flows.forms import VersionUri


@flow
def train(version: VersionUri, store: DatasetStore | None = None) -> int:
    """Train on a version, once, however often this is started for it."""
    with once_per_version(version, store=store) as is_mine:
        if not is_mine:
            return 0
        inputs = resolve_inputs({"readings": version}, store=store)
        return fit(list(inputs["readings"].rglob("*.csv")))


def fit(files: list[Path]) -> int:
    """Stand in for a model: count the lines."""
    return sum(len(file.read_text().splitlines()) for file in files)


if __name__ == "__main__":
    train.serve("train-on-new-version", triggers=[on_new_version("sensor-data")])
