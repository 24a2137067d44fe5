"""Run a pipeline of a `valohai.yaml`: in code, from the command line, or as a deployment."""

import os
from pathlib import Path
from typing import Annotated, Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.flows.forms import described, titled
from prefect_datasets.flows.pipeline_host import FlowHost
from prefect_datasets.flows.run_step import StepOptions
from prefect_datasets.flows.templates import fill
from prefect_datasets.tasks.run import current_run
from prefect_datasets.valohai.pipeline.drive import drive
from prefect_datasets.valohai.pipeline.outcome import PipelineOutcome
from prefect_datasets.valohai.pipeline.plan import plan_pipeline
from prefect_datasets.valohai.pipeline.status import Verdict
from prefect_datasets.valohai.plan import Given
from prefect_datasets.valohai.reading import config


class PipelineOptions(StepOptions):
    """How a pipeline is run; a form in the Prefect UI."""

    at_once: int = Field(
        default=0,
        ge=0,
        title="At once",
        description="Most executions at once; 0 for as many as the machine has processors.",
    )


@described
@flow(
    name="run-pipeline",
    flow_run_name="{pipeline}",
    # Executions are processes of this machine, which threads wait for. Prefect types its runners by
    # their own kind of future, and takes none of them so.
    task_runner=cast("Any", ThreadPoolTaskRunner()),
)
def run_pipeline(
    store: Annotated[DatasetStore, titled("Store")],
    pipeline: Annotated[str, titled("Pipeline", min_length=1)],
    file: Annotated[str, titled("File", min_length=1)] = "valohai.yaml",
    parameters: Annotated[dict[str, Any], titled("Parameters")] = {},  # noqa: B006 - not changed
    inputs: Annotated[dict[str, list[str]], titled("Inputs")] = {},  # noqa: B006
    environment: Annotated[dict[str, str], titled("Environment")] = {},  # noqa: B006
    options: Annotated[PipelineOptions, titled("More")] = PipelineOptions(),  # noqa: B008 - frozen
) -> PipelineOutcome | State[None]:
    """Run a pipeline of a valohai.yaml on the machine that runs this.

    Each execution of a node is a task run of its name. Where an action requires approval, this run
    is paused until somebody resumes it.

    Args:
        store: Where inputs are and outputs go.
        pipeline: Name of the pipeline.
        file: The valohai.yaml; its folder is the checkout that steps run in.
        parameters: Values by pipeline parameter, or by node.parameter.
        inputs: URIs by node.input, instead of the defaults of the file.
        environment: Environment variables of all steps.
        options: How it is run.
    """
    run = current_run()
    assert run is not None, "a flow run"
    given = Given(
        parameters=parameters,
        inputs=inputs,
        environment=environment,
        fail_fast=options.on_failure == "stop",
        write_repository=options.write_repository,
    )
    run_id = str(run.flow_run_id)
    loaded = config.load(Path(file).expanduser())
    plan = plan_pipeline(loaded, pipeline, given, fill=fill, seed=run_id)
    for warning in plan.warnings:
        run.logger.warning("%s", warning)
    host = FlowHost(run, store, options.namespace)
    capacity = options.at_once or os.cpu_count() or 1
    outcome = drive(plan, host, capacity=capacity, run_id=run_id)
    if outcome.verdict is Verdict.STOPPED:
        # Neither complete nor failed: what waits for its completion must not go on.
        return Cancelled(name="Stopped", message=str(outcome.error), data=None)
    if outcome.error is not None:
        raise outcome.error
    return outcome
