"""Where outputs came from: what is kept beside them on the store."""

from typing import Any

from prefect.context import FlowRunContext

from prefect_datasets.tasks.pins import inputs_of
from prefect_datasets.tasks.run import current_run

# A parameter can be anything that was handed over in Python, a table of gigabytes too.
_MOST_CHARACTERS = 1_000


def provenance() -> dict[str, Any]:
    """Describe the run that publishes; empty outside a flow run. The API is not asked."""
    run, context = current_run(), FlowRunContext.get()
    if run is None or context is None or context.flow_run is None:
        return {}
    flow_run = context.flow_run
    return {
        "flow_run": {
            "id": str(flow_run.id),
            "name": flow_run.name,
            "flow": context.flow.name if context.flow else None,
            "deployment": str(flow_run.deployment_id) if flow_run.deployment_id else None,
            "scheduled": str(flow_run.expected_start_time),
        },
        "parameters": {name: _short(value) for name, value in (context.parameters or {}).items()},
        "inputs": inputs_of(run),
    }


def _short(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:_MOST_CHARACTERS]
