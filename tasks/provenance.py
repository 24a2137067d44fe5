"""Where outputs came from: what is kept beside them on the store."""

from typing import Any

from prefect.runtime import deployment, flow_run

from prefect_datasets.tasks.pins import inputs_of
from prefect_datasets.tasks.run import current_run

# A parameter can be anything that was handed over in Python, a table of gigabytes too.
_MOST_CHARACTERS = 1_000


def provenance() -> dict[str, Any]:
    """Describe the run that publishes; empty outside a run."""
    run = current_run()
    if run is None or run.flow_run_id is None:
        return {}
    return {
        "flow_run": {
            "id": str(run.flow_run_id),
            "name": flow_run.name,
            "flow": flow_run.flow_name,
            "deployment": deployment.name,
            "scheduled": str(flow_run.scheduled_start_time),
        },
        "parameters": {name: _short(value) for name, value in _parameters().items()},
        "inputs": inputs_of(run),
    }


def _parameters() -> dict[str, Any]:
    return flow_run.parameters or {}


def _short(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:_MOST_CHARACTERS]
