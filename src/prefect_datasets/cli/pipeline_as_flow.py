"""`run --pipeline NAME` as a flow run of the Prefect API that is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.cli.as_flow import show_no_tracebacks
from prefect_datasets.cli.run import report
from prefect_datasets.cli.step import given_of
from prefect_datasets.core.errors import DatasetError
from prefect_datasets.flows.run_pipeline import PipelineOptions, run_pipeline
from prefect_datasets.valohai.pipeline.outcome import PipelineOutcome

if TYPE_CHECKING:
    import argparse

    from prefect_datasets.valohai.pipeline.plan import PipelinePlan


def run(chosen: argparse.Namespace, plan: PipelinePlan) -> PipelineOutcome | None:
    """Run a pipeline by the flow `run-pipeline`; None, and an error told, where it did not end."""
    show_no_tracebacks()
    given = given_of(chosen)
    state: Any = run_pipeline(
        choose_store(chosen.store),
        plan.name,
        str(plan.config.path.resolve()),
        parameters=dict(given.parameters),
        inputs={name: list(uris) for name, uris in given.inputs.items()},
        environment=dict(given.environment),
        options=PipelineOptions(
            on_failure=chosen.on_failure,
            write_repository=chosen.write_repository,
            namespace=chosen.namespace,
        ),
        return_state=True,
    )
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False) if state.is_failed() else None
    report(error if isinstance(error, DatasetError) else DatasetError(str(state.message)))
    return None
