"""Run a pipeline's executions in threads of this process, without Prefect."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.valohai.errors import NOT_STARTED
from prefect_datasets.valohai.pipeline.host import Answer, Question, Work
from prefect_datasets.valohai.pipeline.outcome import PipelineOutcome
from prefect_datasets.valohai.plan import Outcome
from prefect_datasets.valohai.running.execute import execute

if TYPE_CHECKING:
    from prefect_datasets.core.cache.cache import Cache
    from prefect_datasets.core.store import Store
    from prefect_datasets.valohai.running.runner import Runner, StepLog


@dataclass(frozen=True, slots=True)
class ThreadHost:
    """Runs each execution in a thread.

    Attributes:
        store: Where inputs are and outputs go.
        cache: Where inputs are kept on this machine.
        runner: The machine.
        log_of: Gives the log of an execution, by its title.
        asks: Asks a person.
        notes: Tells how the pipeline goes on.
        warns: Tells what may not be as people think.
    """

    store: Store
    cache: Cache
    runner: Runner
    log_of: Callable[[str], StepLog]
    asks: Callable[[Question], Answer]
    notes: Callable[[str], None]
    warns: Callable[[str], None]

    def begin(self, work: Work, done: Callable[[Outcome], None]) -> None:
        """Begin an execution in a thread that does not keep this process."""
        threading.Thread(target=lambda: done(self._run(work)), name=work.title, daemon=True).start()

    def ask(self, question: Question) -> Answer:
        """Ask a person."""
        return self.asks(question)

    def note(self, message: str) -> None:
        """Tell how the pipeline goes on."""
        self.notes(message)

    def warn(self, message: str) -> None:
        """Tell what may not be as people think."""
        self.warns(message)

    def show(self, outcome: PipelineOutcome) -> None:
        """Show nothing: who started this gets the outcome."""

    def _run(self, work: Work) -> Outcome:
        try:
            return execute(
                work.job.plan,
                store=self.store,
                cache=self.cache,
                runner=self.runner,
                log=self.log_of(work.title),
                control=work.control,
                info=work.info,
            )
        except Exception as error:  # noqa: BLE001 - the driver is told, or it waits for ever
            return broken(work, error)


def broken(work: Work, error: BaseException) -> Outcome:
    """Return what an execution came to that an error of ours ended."""
    told = error
    if not isinstance(told, DatasetError):
        told = DatasetError(
            f"The step could not be run: unexpected {type(error).__name__}: {error}",
            subject=work.job.plan.step,
            hint="This belongs in a bug report.",
        )
    return Outcome(work.info.id, NOT_STARTED, parameters=work.job.plan.parameters, error=told)
