"""`run STEP` as a flow run of the Prefect API that is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.cli.as_flow import show_no_tracebacks
from prefect_datasets.flows.run_step import StepOptions, run_step

if TYPE_CHECKING:
    import argparse

    from prefect_datasets.valohai.plan import Given, Outcome
    from prefect_datasets.valohai.reading.config import Config


def run(chosen: argparse.Namespace, config: Config, given: Given) -> Outcome:
    """Run a step by the flow `run-step`.

    Raises:
        StepFailedError: The step failed.
    """
    show_no_tracebacks()
    return run_step(
        choose_store(chosen.store),
        chosen.step,
        str(config.path.resolve()),
        parameters=dict(given.parameters),
        inputs={name: list(uris) for name, uris in given.inputs.items()},
        environment=dict(given.environment),
        options=StepOptions(
            on_failure=chosen.on_failure,
            write_repository=chosen.write_repository,
            namespace=chosen.namespace,
        ),
    )
