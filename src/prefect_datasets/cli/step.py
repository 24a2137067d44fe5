"""`run`: a step of a valohai.yaml, or a pipeline of steps.

Where a Prefect API is configured it is a flow run there; with none the engine is called directly.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect_datasets.cli.describe import version_json, version_line
from prefect_datasets.cli.interrupt import ending_in_order
from prefect_datasets.cli.output import show, show_json
from prefect_datasets.cli.place import choose
from prefect_datasets.cli.prefect_api import configured_api
from prefect_datasets.cli.run import WRONG_USAGE, report
from prefect_datasets.cli.step_log import open_log
from prefect_datasets.core.errors import InvalidInputError, NotFoundError
from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.settings import Settings
from prefect_datasets.valohai.errors import StepFailedError
from prefect_datasets.valohai.plan import Given, Outcome, StepPlan
from prefect_datasets.valohai.reading.config import Config, load
from prefect_datasets.valohai.reading.names import suggest
from prefect_datasets.valohai.reading.step import plan_step

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


def run(chosen: argparse.Namespace) -> int:
    """Run what is asked for."""
    try:
        config = load(chosen.file)
        if chosen.pipeline is not None:
            return _pipeline(chosen, config)
        _check(chosen, config)
        plan = plan_step(config, chosen.step, given_of(chosen), fill=fill)
    except (InvalidInputError, NotFoundError) as error:
        report(error)
        return WRONG_USAGE
    outcome = _as_flow(chosen, config) if _asks_for_flow() else _execute(chosen, plan)
    if chosen.json:
        show_json(outcome_json(outcome))
    else:
        show_outcome(outcome)
    if outcome.error is not None:
        report(outcome.error)
    return 0 if outcome.error is None else 1


def given_of(chosen: argparse.Namespace) -> Given:
    """Return what the command line gives."""
    return Given(
        parameters={name: _one_or_list(values) for name, values in grouped(chosen.parameter)},
        inputs={name: [uri for uri in uris if uri] for name, uris in grouped(chosen.input)},
        environment=dict(chosen.env),
        fail_fast=chosen.on_failure == "stop",
        write_repository=chosen.write_repository,
    )


def grouped(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, list[str]]]:
    """Return each name once, with all its values in order."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found.items()


def fill(text: str) -> str:
    """Write today into `{scheduled:%Y-%m-%d}`: started by hand, a run is due now."""
    if "{scheduled" not in text:
        return text
    from prefect_datasets.flows import templates  # noqa: PLC0415  imports Prefect; few need it

    return templates.fill(text, scheduled=lambda: datetime.now(UTC))


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return what programs read about a run."""
    return {
        "execution": outcome.execution,
        "exit_code": outcome.exit_code,
        "outputs": [
            {"path": each.path, "n_bytes": each.n_bytes, "datum": each.datum}
            for each in outcome.outputs
        ],
        "versions": [version_json(record) for record in outcome.versions],
        "metadata": dict(outcome.metadata),
        "inputs": {name: list(uris) for name, uris in outcome.inputs.items()},
        "parameters": dict(outcome.parameters),
        "seconds": round(outcome.seconds, 3),
        "error": str(outcome.error) if outcome.error else None,
    }


def show_outcome(outcome: Outcome) -> None:
    """Say in a few lines what a run left behind."""
    n_bytes = sum(each.n_bytes for each in outcome.outputs)
    outputs = f"{count(len(outcome.outputs), 'output')}, {format_bytes(n_bytes)}"
    show(f"execution {outcome.execution}  exit code {outcome.exit_code}, {outputs}")
    for record in outcome.versions:
        show(version_line(record))


def _pipeline(chosen: argparse.Namespace, config: Config) -> int:
    from prefect_datasets.cli import pipeline  # noqa: PLC0415  a step needs none of it

    if chosen.step is not None:
        raise InvalidInputError(
            "A step and a pipeline at once", hint="Name a STEP, or give --pipeline NAME."
        )
    config.pipeline(chosen.pipeline)
    return pipeline.run(chosen)


def _check(chosen: argparse.Namespace, config: Config) -> None:
    if chosen.step is None:
        raise InvalidInputError(
            "Nothing says what to run",
            subject=str(config.path),
            hint=f"Name a step. {suggest('', config.names('step'))}",
        )


def _one_or_list(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _asks_for_flow() -> bool:
    """Tell whether there is a Prefect API that would show the run."""
    api = configured_api()
    if api:
        api.check()
    return api is not None


def _as_flow(chosen: argparse.Namespace, config: Config) -> Outcome:
    from prefect_datasets.cli import step_as_flow  # noqa: PLC0415  imports Prefect

    try:
        return step_as_flow.run(chosen, config, given_of(chosen))
    except StepFailedError as error:
        return Outcome(execution="", exit_code=error.exit_code, error=error)


def _execute(chosen: argparse.Namespace, plan: StepPlan) -> Outcome:
    from prefect_datasets.valohai.running.execute import execute  # noqa: PLC0415  pyarrow
    from prefect_datasets.valohai.running.runner import Runner  # noqa: PLC0415

    place = choose(chosen)
    settings = Settings.read()
    runner = Runner(
        runs=settings.runs,
        packaging_switch=settings.packaging_switch,
        environment=dict(os.environ),
        namespace=chosen.namespace,
    )
    with ending_in_order("the step"), open_log() as log:
        return execute(plan, store=place.store(), cache=place.cache(), runner=runner, log=log)
