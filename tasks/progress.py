"""Tells a run how far the work is: lines in its log, and one progress artifact.

The engine calls from its worker threads; nothing here waits for the network in such a call. A
thread of its own moves the artifact, every few seconds, and dies with the block that started it.
"""

import logging
import threading
import time
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from itertools import chain, repeat
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.progress import Progress, format_bytes
from prefect_datasets.tasks import artifacts
from prefect_datasets.tasks.run import Run, current_run

_log = logging.getLogger("prefect_datasets")

# What is long gets fewer updates: a day's work is thousands of requests either way.
SECONDS_BETWEEN_UPDATES = 2.0
_SECONDS_BETWEEN_LATER_UPDATES = 5.0
_UPDATES_BEFORE = 30
_STEPS = 10
_SECONDS_TO_END = 5.0
_NOT_SHOWN = "The Prefect API does not answer: progress is in the log only."


class Gauge:
    """How much of a stage is done; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin("", 0, 0)

    def begin(self, what: str, n_files: int, n_bytes: int) -> None:
        """Begin a stage of so many files and bytes."""
        with self._lock:
            self._begin(what, n_files, n_bytes)

    def add(self, n_files: int, n_bytes: int) -> bool:
        """Count files and bytes (or take them back); tell whether to say so.

        That is about every tenth of the way, and not at all where it takes a moment only.
        """
        with self._lock:
            self.files_done += n_files
            self.bytes_done += n_bytes
            step, now = int(self.fraction * _STEPS), time.monotonic()
            if step <= self._step or now - self._told < SECONDS_BETWEEN_UPDATES:
                return False
            self._step, self._told = step, now
            return True

    @property
    def fraction(self) -> float:
        """How much is done, between 0 and 1; by bytes where there are any, else by files."""
        done, total = (
            (self.bytes_done, self.n_bytes) if self.n_bytes else (self.files_done, self.n_files)
        )
        return min(max(done / total, 0.0), 1.0) if total else 0.0

    def describe(self) -> str:
        """Say what is done, in one line."""
        return (
            f"{self.what}: {self.files_done:,} of {self.n_files:,} files, "
            f"{format_bytes(self.bytes_done)} of {format_bytes(self.n_bytes)}, {self._rate()}"
        )

    def describe_shortly_first(self) -> str:
        """Say the same, what matters first: a card in the Prefect UI shows about 30 characters."""
        percent = f"{self.fraction:.0%}"
        files = f"{self.files_done:,} of {self.n_files:,} files"
        if not self.n_bytes:
            return f"{percent}, {files}: {self.what}"
        done = f"{percent}, {format_bytes(self.bytes_done)}, {self._rate()}"
        return f"{done}; {files}, {format_bytes(self.n_bytes)} in all: {self.what}"

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-3)
        return f"{format_bytes(round(self.bytes_done / seconds))}/s"

    def _begin(self, what: str, n_files: int, n_bytes: int) -> None:
        self.what, self.n_files, self.n_bytes = what, n_files, n_bytes
        self.files_done = self.bytes_done = self._step = 0
        self._began = self._told = time.monotonic()


class RunProgress:
    """Progress of one piece of work, told to the run it is done in.

    Args:
        run: The run.
        shows_artifact: Whether there is a progress artifact; work that ends before the first update
            leaves none.
    """

    def __init__(self, run: Run, *, shows_artifact: bool = True) -> None:
        self.run = run
        self._gauge = Gauge()
        self._shows_artifact = shows_artifact
        self._ending = threading.Event()
        self._artifact: UUID | None = None
        self._has_failed = False

    def __enter__(self) -> Self:
        if self._shows_artifact:
            context = copy_context()  # the client of the run, and the settings of the caller
            self._thread = threading.Thread(
                target=context.run, args=(self._keep_moving,), name="progress", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        if self._shows_artifact:
            self._thread.join(_SECONDS_TO_END)  # an API that hangs does not hold up the work

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None:
        """Begin a stage."""
        self._gauge.begin(what, n_files, n_bytes)

    def advance(self, *, n_files: int, n_bytes: int) -> None:
        """Count files and bytes as done."""
        if self._gauge.add(n_files, n_bytes):
            self.run.logger.info(self._gauge.describe())

    def note(self, message: str) -> None:
        """Say one line in the run's log."""
        self.run.logger.info(message)

    def warn(self, message: str) -> None:
        """Say one line in the run's log, as a warning."""
        self.run.logger.warning(message)

    def _keep_moving(self) -> None:
        if self._ending.wait(SECONDS_BETWEEN_UPDATES):
            return
        # Settings of its own make it a client of its own: the run's is not made for two threads.
        with get_client(sync_client=True, httpx_settings={}) as client:
            self._move(client)
            for seconds in chain(
                repeat(SECONDS_BETWEEN_UPDATES, _UPDATES_BEFORE),
                repeat(_SECONDS_BETWEEN_LATER_UPDATES),
            ):
                has_ended = self._ending.wait(seconds)
                self._move(client)
                if has_ended:
                    return

    def _move(self, client: SyncPrefectClient) -> None:
        if not self._gauge.what:
            return
        try:
            self._show(client)
        except Exception:  # noqa: BLE001 - the client lets errors of many libraries through
            # Saying it once is enough: where the API comes back, the next update arrives.
            if not self._has_failed:
                self.run.logger.warning(_NOT_SHOWN)
            self._has_failed = True

    def _show(self, client: SyncPrefectClient) -> None:
        described = self._gauge.describe_shortly_first()
        percent = round(self._gauge.fraction * 100, 1)
        if self._artifact is None:
            self._artifact = artifacts.create_progress(
                client, self.run, percent=percent, description=described
            )
        else:
            artifacts.update_progress(
                client, self._artifact, percent=percent, description=described
            )


class Share:
    """What one task of many has done, counted into the progress of them all.

    Args:
        whole: The progress of them all.
        n_files: How many files are the task's.
        n_bytes: How many bytes are the task's.
    """

    def __init__(self, whole: Progress, *, n_files: int, n_bytes: int) -> None:
        self._whole = whole
        self._total = n_files, n_bytes
        self._lock = threading.Lock()
        self._done = 0, 0
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Let the task not begin, if it has not yet: another one failed."""
        self._given_up.set()

    def restart(self) -> None:
        """Count nothing as done: the task begins, perhaps once more.

        Raises:
            DatasetError: It has been given up.
        """
        if self._given_up.is_set():
            raise DatasetError("Not begun, because another part of the work failed")
        self._move_to(0, 0)

    def advance(self, *, n_files: int, n_bytes: int) -> None:
        """Count files and bytes as done, never more than are the task's."""
        files, size = self._done
        self._move_to(files + n_files, size + n_bytes)

    def finish(self) -> None:
        """Count everything as done, wherever the task ran."""
        self._move_to(*self._total)

    def _move_to(self, n_files: int, n_bytes: int) -> None:
        with self._lock:
            n_files, n_bytes = min(n_files, self._total[0]), min(n_bytes, self._total[1])
            files, size = n_files - self._done[0], n_bytes - self._done[1]
            self._done = n_files, n_bytes
        self._whole.advance(n_files=files, n_bytes=size)


class _TaskProgress:
    """Progress of a task that does a share of the work: lines go to the task's own log."""

    def __init__(self, share: Share, run: Run) -> None:
        self._share = share
        self._run = run

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None:
        """Begin a stage of this task; the whole goes on."""

    def advance(self, *, n_files: int, n_bytes: int) -> None:
        self._share.advance(n_files=n_files, n_bytes=n_bytes)

    def note(self, message: str) -> None:
        self._run.logger.info(message)

    def warn(self, message: str) -> None:
        self._run.logger.warning(message)


class _LogProgress:
    """Progress outside a run: what is said goes to Python's log."""

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None: ...

    def advance(self, *, n_files: int, n_bytes: int) -> None: ...

    def note(self, message: str) -> None:
        _log.info(message)

    def warn(self, message: str) -> None:
        _log.warning(message)


# Tasks get no live objects, which could not travel to other processes, but a name. In the process
# of the flow it leads to the task's share; in any other to nothing, and the flow counts the share
# when the task is done.
_shares: dict[str, Share] = {}


@contextmanager
def shared(shares: Sequence[Share]) -> Generator[list[str]]:
    """Give the names under which tasks of this process find their shares."""
    names = {uuid.uuid4().hex: share for share in shares}
    _shares.update(names)
    try:
        yield list(names)
    finally:
        for name in names:
            del _shares[name]


@contextmanager
def progress_of_task(share: str = "") -> Generator[Progress]:
    """Give the progress for work that is done here.

    Args:
        share: Name of this task's share, if its work is one of many (`shared`).
    """
    run = current_run()
    if run is None:
        yield _LogProgress()
    elif (own := _shares.get(share)) is not None:
        own.restart()
        yield _TaskProgress(own, run)
    else:
        with RunProgress(run, shows_artifact=not share) as progress:
            yield progress
