"""Ctrl-C ends a command, even one that waits for a store that does not answer.

Python looks at signals only between its own instructions, and a client written in another language
may not come back for minutes. So a thread looks at them as well: after a moment in which uploads
can be ended in order, or at the second Ctrl-C, it ends the process. Nothing is lost by that: a
repeated command goes on where a killed one was.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

EXIT_CODE = 128 + signal.SIGINT
_MESSAGE = "prefect-datasets: interrupted; the same command goes on where it was\n"
_GRACE_SECONDS = 5.0
_said = threading.Event()


@contextmanager
def ending_on_interrupt() -> Generator[None]:
    """Watch for Ctrl-C while the block runs, and until the process ends if there was one."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are none of its business
        return
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(told,), name="interrupt", daemon=True).start()
    try:
        yield
    finally:
        # After an interrupt the watch goes on: threads that still wait would hold up the end.
        if not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            signal.set_wakeup_fd(before)
            os.close(tell)


@contextmanager
def ending_in_order(what: str) -> Generator[None]:
    """Let the first Ctrl-C, or SIGTERM, end what runs and store what it wrote; the second ends us.

    A step is no transfer: repeated, it begins anew. So what it wrote is stored first, however long
    that takes.

    Args:
        what: What runs, for the message.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _say(f"prefect-datasets: ending {what}; Ctrl-C again to end at once\n")
        raise KeyboardInterrupt

    watched = signal.set_wakeup_fd(-1)  # its grace is too short for outputs to be stored
    before = signal.signal(signal.SIGINT, interrupt)
    ending = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        _said.set()
        _say(f"prefect-datasets: interrupted; what {what} wrote so far is stored\n")
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, ending)
        signal.set_wakeup_fd(watched)


def say_interrupted() -> None:
    """Say it, once."""
    if not _said.is_set():
        _said.set()
        _say(_MESSAGE)


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _watch(told: int) -> None:
    """End the process some time after the first SIGINT, or at the second."""
    while byte := os.read(told, 1):
        if byte[0] == signal.SIGINT:
            break
    else:
        os.close(told)
        return
    select.select([told], [], [], _GRACE_SECONDS)
    say_interrupted()
    os._exit(EXIT_CODE)
