"""How many of valohai-yaml's own examples load here; run by hand.

    git clone https://github.com/valohai/valohai-yaml
    python tests/valohai/conformance.py valohai-yaml

Of its `error_examples` each must be refused; of the others, what is refused is shown with why.
"""

from __future__ import annotations

import sys
from pathlib import Path

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.valohai.plan import Given
from prefect_datasets.valohai.reading.config import load
from prefect_datasets.valohai.reading.step import plan_step

_FOLDERS = (
    "examples",
    "tests/valid_examples",
    "tests/warning_examples",
    "tests/error_examples",
)
_SOMETHING = ("s3://bucket/key",)  # for inputs that have no default


def main(repository: Path) -> None:
    """Print how many files of each folder load, and how many of their steps can be planned."""
    for name in _FOLDERS:
        refused: dict[str, DatasetError] = {}
        n_steps = n_planned = 0
        files = sorted((repository / name).glob("*.yaml"))
        for file in files:
            try:
                config = load(file)
            except DatasetError as error:
                refused[file.name] = error
                continue
            for step in dict.fromkeys(config.names("step")):
                n_steps += 1
                try:
                    inputs = dict.fromkeys(config.step(step).inputs, _SOMETHING)
                    plan_step(config, step, Given(inputs=inputs))
                    n_planned += 1
                except DatasetError as error:
                    refused[f"{file.name}, step {step}"] = error
        n_loaded = len(files) - sum("," not in name for name in refused)
        print(f"{name}: {n_loaded} of {len(files)} load; {n_planned} of {n_steps} steps planned")
        for what, error in refused.items():
            print(f"  {what}: {error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
