"""What a run is given beside its plan: a machine, an ear, and a way to end it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from prefect_datasets.core.progress import Progress

if TYPE_CHECKING:
    from prefect_datasets.valohai.running.step_inputs import StepInput

NamespaceChoice = Literal["auto", "bubblewrap", "unshare", "plain"]


@dataclass(frozen=True, slots=True)
class Runner:
    """The machine that a step runs on.

    Attributes:
        runs: Folder in which each run gets one of its own.
        packaging_switch: What this machine says of packaging; a step's own variable goes before it.
        environment: This process's variables; few of them reach a step (`variables.py`).
        namespace: How a step gets its `/valohai`; `auto` takes the first that works here.
        grace_seconds: How long what is asked to end has before it is killed.
        look_seconds: How often outputs are looked at for live ones.
    """

    runs: Path
    packaging_switch: bool | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    namespace: NamespaceChoice = "auto"
    grace_seconds: float = 5.0
    look_seconds: float = 1.0


class StepLog(Progress, Protocol):
    """Is told of a run as it goes on, by one thread at a time."""

    def brought(self, found: StepInput) -> None:
        """Take note of an input that is there now."""

    def line(self, text: str) -> None:
        """Show a line that the step printed, or several of them as one text.

        They are few enough for any log: what is too much is left out here, and is in the whole log.
        """


class Control:
    """Ends a run from another thread, or before it begins."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """End the run and all its processes; what it wrote so far is stored."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody ended the run."""
        return self._cancelled.is_set()
