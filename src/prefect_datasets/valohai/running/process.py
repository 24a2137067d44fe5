"""Runs one command with all it starts, watches the clock, and hands on what it prints.

The command stands behind `supervise.py`, which ends every process it left. Here is the other end of
that: pipes, limits, and the certainty that nothing runs on when this function returns or raises.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from prefect_datasets.valohai.running import supervise

if TYPE_CHECKING:
    from prefect_datasets.valohai.running.runner import Control

Stream = Literal["stdout", "stderr"]
Reason = Literal["ended", "time limit", "no output", "cancelled"]

_READ_BYTES = 1 << 16
_TICK_SECONDS = 0.1
_DRAIN_SECONDS = 5.0
_KILL_MARGIN_SECONDS = 15.0  # the supervisor itself needs some to kill what does not end


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a command may take.

    Attributes:
        seconds: In all; None for as long as it likes.
        silent_seconds: Without printing anything; likewise.
        grace_seconds: From being asked to end until being killed.
    """

    seconds: float | None = None
    silent_seconds: float | None = None
    grace_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        exit_code: What it ended with; 128 + signal where one ended it.
        reason: What made it end: itself, or one of us.
        left: What it left running, by its command line; that was ended.
        n_left: How many processes those were.
        seconds: How long it took.
    """

    exit_code: int
    reason: Reason
    left: tuple[str, ...]
    n_left: int
    seconds: float


def run(
    command: Sequence[str],
    *,
    prefix: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    limits: Limits,
    control: Control,
    hear: Callable[[Stream, bytes], None],
    tick: Callable[[], None],
) -> Ended:
    """Run a command; return when it and all it started are gone.

    Args:
        command: The command.
        prefix: What makes its namespace.
        folder: Its working directory, as it sees it.
        environment: All its variables.
        limits: How long it may take.
        control: Ends it from another thread.
        hear: Gets what it prints, as it comes.
        tick: Is called several times a second.
    """
    with _Process(command, prefix, folder, environment, limits) as process:
        return process.watch(control, hear, tick)


class _Process:
    """A supervised process; leaving the block ends it, whatever happens."""

    def __init__(
        self,
        command: Sequence[str],
        prefix: Sequence[str],
        folder: str,
        environment: Mapping[str, str],
        limits: Limits,
    ) -> None:
        self._limits = limits
        told, self._control = os.pipe()
        self._report, tells = os.pipe()
        grace = str(limits.grace_seconds)
        supervisor = [sys.executable, "-I", "-S", str(supervise.__file__), str(told), str(tells)]
        self._began = self._heard = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [*prefix, *supervisor, grace, folder, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                pass_fds=(told, tells),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._control)
            os.close(self._report)
            raise
        finally:
            os.close(told)
            os.close(tells)
        self._asked_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._finish()
        finally:
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()
            os.close(self._report)

    def watch(
        self,
        control: Control,
        hear: Callable[[Stream, bytes], None],
        tick: Callable[[], None],
    ) -> Ended:
        """Wait for its end, or for a reason to end it."""
        reason: Reason = "ended"
        with selectors.DefaultSelector() as selector:
            for name, pipe in (("stdout", self._process.stdout), ("stderr", self._process.stderr)):
                assert pipe is not None, "both are pipes"
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe.fileno(), selectors.EVENT_READ, name)
            while self._process.poll() is None:
                self._read(selector, hear, _TICK_SECONDS)
                tick()
                if reason == "ended" and (found := self._reason(control)) is not None:
                    reason = found
                    self._ask()
                self._kill_if_late()
            seconds = time.monotonic() - self._began
            self._drain(selector, hear)
        return self._ended(reason, seconds)

    def _reason(self, control: Control) -> Reason | None:
        now = time.monotonic()
        limits = self._limits
        if control.is_cancelled:
            return "cancelled"
        if limits.seconds is not None and now - self._began > limits.seconds:
            return "time limit"
        if limits.silent_seconds is not None and now - self._heard > limits.silent_seconds:
            return "no output"
        return None

    def _read(
        self,
        selector: selectors.BaseSelector,
        hear: Callable[[Stream, bytes], None],
        timeout: float,
    ) -> int:
        if not selector.get_map():
            time.sleep(timeout)
            return 0
        n_bytes = 0
        for key, _ in selector.select(timeout):
            with suppress(BlockingIOError):
                data = os.read(key.fd, _READ_BYTES)
                if data:
                    self._heard = time.monotonic()
                    hear(key.data, data)
                    n_bytes += len(data)
                else:
                    selector.unregister(key.fd)
        return n_bytes

    def _drain(
        self, selector: selectors.BaseSelector, hear: Callable[[Stream, bytes], None]
    ) -> None:
        """Read what is left in the pipes; nobody writes to them any more."""
        end = time.monotonic() + _DRAIN_SECONDS
        while selector.get_map() and (self._read(selector, hear, 0) or time.monotonic() < end):
            continue

    def _ask(self) -> None:
        """Ask the supervisor to end everything."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            os.close(self._control)

    def _kill_if_late(self) -> None:
        allowed = self._limits.grace_seconds + _KILL_MARGIN_SECONDS
        if self._asked_at is not None and time.monotonic() - self._asked_at > allowed:
            self._process.kill()

    def _finish(self) -> None:
        """See that it is gone."""
        self._ask()
        allowed = self._limits.grace_seconds + _KILL_MARGIN_SECONDS
        try:
            self._wait_discarding(allowed)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _wait_discarding(self, seconds: float) -> None:
        """Wait for its end; what it prints meanwhile must not hold it up, and is lost."""
        end = time.monotonic() + seconds
        pipes = [pipe for pipe in (self._process.stdout, self._process.stderr) if pipe]
        while self._process.poll() is None:
            for pipe in pipes:
                with suppress(BlockingIOError):
                    os.read(pipe.fileno(), _READ_BYTES)
            if time.monotonic() > end:
                self._process.kill()
            time.sleep(0.01)

    def _ended(self, reason: Reason, seconds: float) -> Ended:
        os.set_blocking(self._report, False)
        with suppress(BlockingIOError, ValueError):
            body = json.loads(os.read(self._report, _READ_BYTES))
            left = tuple(str(name) for name in body["left"])
            return Ended(int(body["exit_code"]), reason, left, int(body["n_left"]), seconds)
        # The supervisor was killed, or its namespace was not built.
        code = self._process.returncode
        return Ended(128 - code if code < 0 else code or 1, reason, (), 0, seconds)


def signal_of(exit_code: int) -> signal.Signals | None:
    """Return the signal that an exit code of a shell stands for, or None."""
    with suppress(ValueError):
        return signal.Signals(exit_code - 128) if exit_code > 128 else None
    return None
