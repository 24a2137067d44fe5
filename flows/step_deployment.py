"""Make a flow of a step, with the step's parameters and inputs as a typed form."""

import inspect
import json
import re
from pathlib import Path
from typing import Annotated, Any

from prefect import Flow
from pydantic import WithJsonSchema

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.flows.forms import titled
from prefect_datasets.flows.run_step import StepOptions, run_step
from prefect_datasets.valohai.plan import Outcome
from prefect_datasets.valohai.reading.config import load
from prefect_datasets.valohai.reading.form import Form, step_form

_PREFIX = "step_"
_FORBIDDEN = re.compile(r"[/%&<>]")  # in a flow's name
_DOCUMENTED = """{description}

Args:
    store: Where its inputs are and its outputs go.
    parameters: Values of the step's parameters.
    inputs: URIs of the step's inputs; all URIs of one go into one folder.
    environment: Environment variables of the step.
    options: How it is run.
"""


def step_flow(step: str, *, file: str | Path = "valohai.yaml") -> Flow[..., Outcome]:
    """Make a flow that runs a step of a valohai.yaml.

    The Prefect UI shows its parameters, inputs and variables with their descriptions, defaults,
    choices and limits, and refuses wrong values before there is a run. It can be called, served,
    and deployed from a file that has it under a name of its own:

        train = step_flow("train")  # deployments.py; then: prefect deploy deployments.py:train

    Args:
        step: Name of the step.
        file: The valohai.yaml; its folder is the checkout that the step runs in.

    Raises:
        NotFoundError: There is no such file.
        InvalidInputError: There is no such step, or the file is wrong.
    """
    path = Path(file).expanduser().resolve()
    form = step_form(load(path), step)

    def run(store: DatasetStore, **given: Any) -> Outcome:
        return run_step.fn(store, form.step, str(path), **given)

    run.__name__ = run.__qualname__ = _name_of(form.step, path)
    run.__doc__ = _DOCUMENTED.format(description=form.description or f"Run the step {form.step}.")
    run.__signature__ = _signature(form)  # type: ignore[attr-defined] - what inspect looks at
    return Flow(
        run,
        name=_FORBIDDEN.sub("-", form.step),
        flow_run_name=form.step.replace("{", "{{").replace("}", "}}"),
        description=form.description or None,
    )


def __getattr__(name: str) -> Flow[..., Outcome]:
    """Make the flow of a step again, in the process that runs what was served: `_name_of`."""
    if not name.startswith(_PREFIX):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    step, file = json.loads(bytes.fromhex(name.removeprefix(_PREFIX)))
    return step_flow(step, file=file)


def _name_of(step: str, file: Path) -> str:
    """Return a name that leads to the flow from an entrypoint, which is a file and a name in it."""
    return _PREFIX + json.dumps([step, str(file)]).encode().hex()


def _signature(form: Form) -> inspect.Signature:
    """Return the signature that the form is made of."""
    store = inspect.Parameter(
        "store",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[DatasetStore, titled("Store")],
    )
    return inspect.Signature(
        [
            store,
            _keyword("parameters", form.parameters),
            _keyword("inputs", form.inputs),
            _keyword("environment", form.environment),
            inspect.Parameter(
                "options",
                inspect.Parameter.KEYWORD_ONLY,
                annotation=Annotated[StepOptions, titled("More")],
                default=StepOptions(),
            ),
        ],
        return_annotation=Outcome,
    )


def _keyword(name: str, schema: dict[str, Any]) -> inspect.Parameter:
    """Return a parameter with a schema of its own; it has to be given if something in it has to."""
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[dict[str, Any], WithJsonSchema(schema), titled(name.capitalize())],
        default=inspect.Parameter.empty if schema.get("required") else {},
    )
