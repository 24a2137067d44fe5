"""Run a step: everything from its plan to what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_datasets.valohai.plan import Outcome, StepPlan

if TYPE_CHECKING:
    from prefect_datasets.core.cache.cache import Cache
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.store_spec import StoreSpec
    from prefect_datasets.valohai.config_files import ExecutionInfo
    from prefect_datasets.valohai.runner import Control, Runner, StepLog


def execute(
    plan: StepPlan,
    *,
    store: Store | StoreSpec,
    cache: Cache,
    runner: Runner,
    log: StepLog,
    control: Control | None = None,
    info: ExecutionInfo | None = None,
) -> Outcome:
    """Run a step and store what it wrote.

    Args:
        plan: What runs.
        store: Where its inputs are and its outputs go.
        cache: Where inputs are kept on this machine.
        runner: The machine.
        log: Is told, line by line.
        control: Ends it from another thread.
        info: What the step can learn about the run it is, its id among it; left out, a new id.

    Returns:
        What became of it. A run that fails, for whatever reason, has an `error` there and raises
        none; what ends this process (Ctrl-C, a signal that is an exception) ends the step, stores
        what it wrote so far, and is raised again.
    """
    raise NotImplementedError
