"""A log that ends what tells it of progress, once the run is cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_datasets.valohai.errors import StepCancelledError

if TYPE_CHECKING:
    from prefect_datasets.valohai.running.runner import Control, StepLog
    from prefect_datasets.valohai.running.step_inputs import StepInput


@dataclass(frozen=True, slots=True)
class UntilCancelled:
    """Hands everything on; raises `StepCancelledError` where somebody has ended the run.

    An input may take an hour to fetch, and what is fetched by then is there for the next run.
    """

    step: str
    log: StepLog
    control: Control

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None:
        """Begin a stage, unless the run is cancelled."""
        self._check()
        self.log.start(what, n_files=n_files, n_bytes=n_bytes)

    def advance(self, *, n_files: int, n_bytes: int) -> None:
        """Count files and bytes, unless the run is cancelled."""
        self._check()
        self.log.advance(n_files=n_files, n_bytes=n_bytes)

    def note(self, message: str) -> None:
        """Say one line."""
        self.log.note(message)

    def warn(self, message: str) -> None:
        """Say one line, as a warning."""
        self.log.warn(message)  # noqa: G010 - it is no logger

    def line(self, text: str) -> None:
        """Show a line."""
        self.log.line(text)

    def brought(self, found: StepInput) -> None:
        """Take note of an input, unless the run is cancelled."""
        self.log.brought(found)
        self._check()

    def _check(self) -> None:
        if self.control.is_cancelled:
            raise StepCancelledError("The step was cancelled", subject=self.step)
