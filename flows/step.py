"""Run a planned step in the flow run that the caller is in, so that it shows there."""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prefect.runtime import flow_run

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.store_spec import identity
from prefect_datasets.core.uri import DatasetUri, is_dataset_uri
from prefect_datasets.settings import Settings
from prefect_datasets.tasks import step_summary
from prefect_datasets.tasks.announce import announce
from prefect_datasets.tasks.events import announce_alias
from prefect_datasets.tasks.pins import pinned
from prefect_datasets.tasks.run import Run, current_run
from prefect_datasets.tasks.step_log import RunStepLog
from prefect_datasets.valohai.plan import Outcome, StepPlan
from prefect_datasets.valohai.running.config_files import ExecutionInfo
from prefect_datasets.valohai.running.execute import execute
from prefect_datasets.valohai.running.runner import Control, NamespaceChoice, Runner


def execute_here(
    plan: StepPlan,
    store: DatasetStore,
    *,
    control: Control | None = None,
    more: Mapping[str, Any] | None = None,
    namespace: NamespaceChoice = "auto",
) -> Outcome:
    """Run a step; its log, its inputs and its versions show in the flow run of the caller.

    Args:
        plan: What runs.
        store: Where its inputs are and its outputs go.
        control: Ends it from another thread.
        more: What the step can learn about the run it is, such as its `pipeline-id`.
        namespace: How the step gets its `/valohai`.

    Returns:
        What became of it, with an error where it failed.

    Raises:
        InvalidInputError: There is no flow run.
    """
    run = current_run()
    if run is None or run.flow_run_id is None:
        raise InvalidInputError(
            "A step shows in a flow run, and there is none", hint="Call it from a flow."
        )
    plan, asked = _pinned(run, plan, store)
    with RunStepLog(run, store=store, asked=asked) as log:
        outcome = execute(
            plan,
            store=store.open(),
            cache=store.cache(),
            runner=runner(namespace),
            log=log,
            control=control,
            info=_info(run, more or {}),
        )
    step_summary.show(run, plan, outcome)
    for record in outcome.versions:
        aliases = [each.alias for each in outcome.aliases if each.version == record.uri]
        announce(run, record, store=store, aliases=aliases)
    for each in outcome.aliases:
        announce_alias(each.version, each.alias, previous=each.previous)
    return outcome


def runner(namespace: NamespaceChoice = "auto") -> Runner:
    """Return this machine, as its environment describes it."""
    settings = Settings.read()
    return Runner(
        runs=settings.runs,
        packaging_switch=settings.packaging_switch,
        environment=dict(os.environ),
        namespace=namespace,
    )


def _pinned(run: Run, plan: StepPlan, store: DatasetStore) -> tuple[StepPlan, dict[str, str]]:
    """Take what an earlier attempt of the run resolved instead of aliases and `latest`."""
    where = identity(store.spec())
    asked: dict[str, str] = {}

    def same(uri: str) -> str:
        if not is_dataset_uri(uri):
            return uri
        found = pinned(run, DatasetUri.parse(uri), store=where)
        if found is None:
            return uri
        asked[str(found)] = uri
        return str(found)

    inputs = tuple(replace(each, uris=tuple(map(same, each.uris))) for each in plan.inputs)
    return replace(plan, inputs=inputs), asked


def _info(run: Run, more: Mapping[str, Any]) -> ExecutionInfo:
    return ExecutionInfo(
        id="",
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        title=str(flow_run.name or ""),
        tags=tuple(flow_run.tags or ()),
        more={"flow-run-id": str(run.flow_run_id), **more},
    )
