"""The threads that move bytes, shared by every store of the process.

There is one pool; a second one reads what is written at the same time, so that neither waits for
the other.
"""

# ruff: noqa: PLC0415 - who reads one object needs no pool, and its modules take 20 ms to load

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

MAX_THREADS = 32
_MAX_READING_THREADS = 64

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Pool:
    """Threads that are started when there is work for them, anew in the child of a fork.

    Args:
        n_threads: How many.
        name: What they are called.
    """

    def __init__(self, n_threads: int, name: str) -> None:
        self.n_threads = n_threads
        self._name = name
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def threads(self) -> ThreadPoolExecutor:
        """Return the threads."""
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.n_threads, thread_name_prefix=self._name)
            return self._threads

    def _forget(self) -> None:
        """Start anew: the parent's threads are not here, and its lock may be held."""
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None


SHARED = Pool(MAX_THREADS, "prefect-datasets-store")
READING = Pool(_MAX_READING_THREADS, "prefect-datasets-read")


def run_all(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    n_threads: int = MAX_THREADS,
    pool: Pool = SHARED,
) -> list[_Result]:
    """Call `function` on every item, several at once; return the results in the items' order.

    The first error stops the calls that have not begun, waits for those that have, and is raised.
    `function` must not call `run_all` itself: with every thread waiting for another, none works.
    """
    if len(items) <= 1 or n_threads == 1:
        return [function(item) for item in items]
    results: dict[int, _Result] = {}
    indexes = count()
    failed = threading.Event()

    def work() -> None:
        while not failed.is_set() and (index := next(indexes)) < len(items):
            try:
                results[index] = function(items[index])
            except BaseException:
                failed.set()
                raise

    _run(work, min(n_threads, pool.n_threads, len(items)), stop=failed, pool=pool)
    return [results[index] for index in range(len(items))]


def _run(work: Callable[[], None], n_workers: int, *, stop: threading.Event, pool: Pool) -> None:
    """Run `work` on so many threads of the pool and raise the first error of any."""
    from concurrent.futures import wait

    threads = pool.threads()
    futures = [threads.submit(work) for _ in range(n_workers)]
    try:
        wait(futures)
    except BaseException:
        stop.set()
        wait(futures)
        raise
    for future in futures:
        future.result()
