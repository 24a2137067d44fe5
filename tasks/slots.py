"""How many parts one process works on at once.

A task runner of threads starts a thread for every task. A part keeps the machine busy by itself and
holds some pieces of many MiB in memory, so the others wait. Two at once: while the store completes
the upload of one, the next begins.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager

PARTS_AT_ONCE = 2

_slots = threading.BoundedSemaphore(PARTS_AT_ONCE)


@contextmanager
def slot() -> Generator[None]:
    """Hold one of this process's places while the block works on a part."""
    with _slots:
        yield
