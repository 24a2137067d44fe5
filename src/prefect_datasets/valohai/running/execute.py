"""Run a step: everything from its plan to what became of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.errors import DatasetError, NoSpaceError
from prefect_datasets.core.publish.plan_version import Policy
from prefect_datasets.core.store_spec import StoreSpec
from prefect_datasets.core.versions import catalog
from prefect_datasets.valohai.errors import NOT_STARTED
from prefect_datasets.valohai.plan import Outcome, StepPlan
from prefect_datasets.valohai.running.cancellable import UntilCancelled
from prefect_datasets.valohai.running.collect import Stored, Written, collect
from prefect_datasets.valohai.running.config_files import ExecutionInfo
from prefect_datasets.valohai.running.directories import Directories
from prefect_datasets.valohai.running.failure import explain
from prefect_datasets.valohai.running.listener import Listener
from prefect_datasets.valohai.running.live_outputs import LiveOutputs
from prefect_datasets.valohai.running.prepare import Prepared, prepare
from prefect_datasets.valohai.running.process import Ended, Limits, run
from prefect_datasets.valohai.running.repository import commit_of
from prefect_datasets.valohai.running.runner import Control
from prefect_datasets.valohai.running.stored_log import store_log

if TYPE_CHECKING:
    from prefect_datasets.core.cache.cache import Cache
    from prefect_datasets.core.store import Store
    from prefect_datasets.valohai.running.live_outputs import Live
    from prefect_datasets.valohai.running.runner import Runner, StepLog

PACKAGING_VARIABLE = "VH_ENABLE_DATASET_VERSION_PACKAGING"

_ON = frozenset({"1", "yes", "true"})
_ROOM_BYTES = 1 << 20
_SHOWN_LEFT = 5


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
    info = _identified(info, plan)
    try:
        opened = store.open() if isinstance(store, StoreSpec) else store
        directories = Directories.make(runner.runs, info.id)
        execution = _Execution(plan, info, directories, opened, runner, log, control or Control())
        return execution.go(cache)
    except DatasetError as error:
        return _not_started(plan, info, error)
    except OSError as error:
        return _not_started(plan, info, _explained(error))


def _identified(info: ExecutionInfo | None, plan: StepPlan) -> ExecutionInfo:
    info = info or ExecutionInfo(id="")
    created = info.created or catalog.now()
    return replace(
        info,
        id=info.id or catalog.new_id(),
        created=created,
        commit=info.commit or commit_of(plan.repository) or f"~{created}",
    )


def _not_started(plan: StepPlan, info: ExecutionInfo, error: DatasetError) -> Outcome:
    return Outcome(
        execution=info.id, exit_code=NOT_STARTED, parameters=plan.parameters, error=error
    )


def _explained(error: OSError) -> DatasetError:
    """Say what this machine lacks."""
    where = str(error.filename or "")
    if error.errno is not None and _is_full(error):
        return NoSpaceError("The disk is full", subject=where, hint="Make room on it.")
    return DatasetError(f"The step can't be run here ({error.strerror or error})", subject=where)


def _is_full(error: OSError) -> bool:
    import errno  # noqa: PLC0415 - only where something went wrong

    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class _Execution:
    """One run of a step."""

    plan: StepPlan
    info: ExecutionInfo
    directories: Directories
    store: Store
    runner: Runner
    progress: StepLog
    control: Control

    def go(self, cache: Cache) -> Outcome:
        """Run it from beginning to end."""
        for warning in self.plan.warnings:
            self.progress.warn(warning)
        try:
            prepared = prepare(
                self.plan,
                info=self.info,
                directories=self.directories,
                store=self.store,
                cache=cache,
                runner=self.runner,
                progress=UntilCancelled(self.plan.step, self.progress, self.control),
            )
        except BaseException:
            self.directories.remove()  # nothing in it is the step's own
            raise
        listener = Listener(self.directories.log, self.progress)
        live = LiveOutputs(
            self.directories.outputs,
            self.directories.live,
            store=self.store,
            look_seconds=self.runner.look_seconds,
            not_sizes={file.n_bytes for each in prepared.inputs for file in each.files},
        )
        try:
            with listener, live:
                ended = self._run(prepared, listener, live)
        except BaseException:
            self.progress.warn("The step was interrupted; what it wrote so far is stored")
            interrupted = Ended(NOT_STARTED, "cancelled", (), 0, 0.0)
            self._store(interrupted, prepared, listener, live.finish(), failed=True)
            self._keep()
            raise
        return self._finish(ended, prepared, listener, live.finish())

    def _run(self, prepared: Prepared, listener: Listener, live: LiveOutputs) -> Ended:
        def tick() -> None:
            listener.tick()
            self._say(*live.said())

        return run(
            prepared.command,
            prefix=prepared.prefix,
            folder=prepared.folder,
            environment=prepared.environment,
            limits=Limits(
                seconds=self.plan.time_limit,
                silent_seconds=self.plan.no_output_timeout,
                grace_seconds=self.runner.grace_seconds,
            ),
            control=self.control,
            hear=listener.hear,
            tick=tick,
        )

    def _finish(self, ended: Ended, prepared: Prepared, listener: Listener, live: Live) -> Outcome:
        """Store what there is, and say what became of it."""
        if ended.n_left:
            shown = ", ".join(ended.left[:_SHOWN_LEFT])
            self.progress.warn(
                f"The step left {ended.n_left} processes running, which are ended: {shown}"
            )
        error: DatasetError | None = explain(
            self.plan,
            ended,
            last_words=listener.last_words(),
            disk_is_full=shutil.disk_usage(self.directories.outputs).free < _ROOM_BYTES,
        )
        stored = self._store(ended, prepared, listener, live, failed=error is not None)
        error = error or stored.error
        if error is None:
            self.directories.remove()
        else:
            self._keep()
        return Outcome(
            execution=self.info.id,
            exit_code=ended.exit_code,
            outputs=stored.outputs,
            versions=stored.versions,
            aliases=stored.aliases,
            metadata=listener.metadata.last,
            series=listener.metadata.series,
            inputs={each.name: each.uris for each in prepared.inputs},
            parameters=self.plan.parameters,
            seconds=ended.seconds,
            error=error,
        )

    def _store(
        self, ended: Ended, prepared: Prepared, listener: Listener, live: Live, *, failed: bool
    ) -> Stored:
        self._say(live.notes, live.warnings)
        written = Written(
            outputs=self.directories.outputs,
            aside=self.directories.root / "aside",
            live=live,
            execution=self.info.id,
            provenance=self._provenance(ended, prepared, listener),
        )
        policy = Policy(switch=self._packaging())
        if listener.n_left_out:
            self.progress.note(
                f"{listener.n_left_out:,} lines of the output are in the whole log alone"
            )
        store_log(self.directories.log, self.info.id, self.store, self.progress)
        return collect(
            written,
            store=self.store,
            policy=policy,
            makes_versions=not failed,
            progress=self.progress,
        )

    def _packaging(self) -> bool:
        """Return whether metadata may ask for packages: off where nobody says anything."""
        text = self.plan.environment.get(PACKAGING_VARIABLE)
        if text is not None:
            return text.strip().lower() in _ON
        return bool(self.runner.packaging_switch)

    def _provenance(
        self, ended: Ended, prepared: Prepared, listener: Listener
    ) -> Mapping[str, Any]:
        plan = self.plan
        return {
            "step": plan.step,
            "image": plan.image,
            "commands": list(plan.commands),
            "commit": self.info.commit,
            "parameters": dict(plan.parameters),
            "inputs": {each.name: list(each.uris) for each in prepared.inputs},
            "metadata": listener.metadata.last,
            "exit_code": ended.exit_code,
            "ended": ended.reason,
            "seconds": round(ended.seconds, 3),
            "started": self.info.created,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "environment": sorted(plan.environment),  # values may be secrets
            **{key: value for key, value in self.info.more.items() if value},
        }

    def _say(self, notes: Sequence[str], warnings: Sequence[str]) -> None:
        for note in notes:
            self.progress.note(note)
        for warning in warnings:
            self.progress.warn(warning)

    def _keep(self) -> None:
        """Leave the folders to whoever wants to see what went wrong; not the copies."""
        for name in ("repository", "python", "tmp", "live", "root"):
            with suppress(OSError):
                Directories(self.directories.root / name).remove()
        self.progress.warn(f"The run's folder is kept: {self.directories.root}")
