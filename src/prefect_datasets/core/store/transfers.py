"""The one pool of threads that moves bytes, shared by every store of the process."""

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

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def run_all(
    function: Callable[[_Item], _Result], items: Sequence[_Item], *, n_threads: int = MAX_THREADS
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

    _run(work, min(n_threads, MAX_THREADS, len(items)), stop=failed)
    return [results[index] for index in range(len(items))]


def _run(work: Callable[[], None], n_workers: int, *, stop: threading.Event) -> None:
    """Run `work` on so many threads of the pool and raise the first error of any."""
    from concurrent.futures import wait

    futures = [_shared_pool().submit(work) for _ in range(n_workers)]
    try:
        wait(futures)
    except BaseException:
        stop.set()
        wait(futures)
        raise
    for future in futures:
        future.result()


def _shared_pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    global _pool  # noqa: PLW0603 - one pool for the process is the purpose
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="prefect-datasets-store")
        return _pool


def _forget_pool() -> None:
    """Start anew after a fork: the parent's threads are not here, and its lock may be held."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


os.register_at_fork(after_in_child=_forget_pool)
