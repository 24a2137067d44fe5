"""Run a step of a `valohai.yaml`: in code, from the command line, or as a deployment."""

from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from pydantic import BaseModel, ConfigDict, Field

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.flows.forms import described, titled
from prefect_datasets.flows.step import execute_here
from prefect_datasets.flows.templates import fill
from prefect_datasets.valohai.plan import Given, Outcome
from prefect_datasets.valohai.reading import config
from prefect_datasets.valohai.reading.step import plan_step


class StepOptions(BaseModel):
    """How a step is run; a form in the Prefect UI."""

    model_config = ConfigDict(frozen=True)

    on_failure: Literal["stop", "go-on"] = Field(
        default="stop",
        title="When a command fails",
        description="Whether the step ends there, or its last command alone decides.",
    )
    write_repository: bool = Field(
        default=False,
        title="Write to the checkout",
        description="Whether the step works in the checkout itself instead of in a copy.",
    )
    namespace: Literal["auto", "bubblewrap", "unshare", "plain"] = Field(
        default="auto",
        title="Namespace",
        description="What gives the step its /valohai; plain is folders somewhere else.",
    )


@described
@flow(name="run-step", flow_run_name="{step}")
def run_step(
    store: Annotated[DatasetStore, titled("Store")],
    step: Annotated[str, titled("Step", min_length=1)],
    file: Annotated[str, titled("File", min_length=1)] = "valohai.yaml",
    parameters: Annotated[dict[str, Any], titled("Parameters")] = {},  # noqa: B006 - not changed
    inputs: Annotated[dict[str, list[str]], titled("Inputs")] = {},  # noqa: B006
    environment: Annotated[dict[str, str], titled("Environment")] = {},  # noqa: B006
    options: Annotated[StepOptions, titled("More")] = StepOptions(),  # noqa: B008 - frozen
) -> Outcome:
    """Run a step of a valohai.yaml on the machine that runs this.

    Its output is the log of this run. Its outputs are stored, whether it succeeds or not; the
    dataset versions they declare are made if it does.

    Args:
        store: Where its inputs are and its outputs go.
        step: Name of the step.
        file: The valohai.yaml; its folder is the checkout that the step runs in.
        parameters: Values by name; the others have the defaults of the file.
        inputs: URIs by input, instead of the defaults of the file.
        environment: Environment variables of the step.
        options: How it is run.
    """
    given = Given(
        parameters=parameters,
        inputs=inputs,
        environment=environment,
        fail_fast=options.on_failure == "stop",
        write_repository=options.write_repository,
    )
    plan = plan_step(config.load(Path(file).expanduser()), step, given, fill=fill)
    outcome = execute_here(plan, store, namespace=options.namespace)
    if outcome.error is not None:
        raise outcome.error
    return outcome
