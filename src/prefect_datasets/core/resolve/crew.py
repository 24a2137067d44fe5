"""A few threads that work through tasks which are made as they are needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, TypeVar

_Tool = TypeVar("_Tool")

Task = Callable[[_Tool], None]


def work_through(
    tasks: Iterator[Task[_Tool]],
    *,
    n_threads: int,
    tool: Callable[[], AbstractContextManager[_Tool]],
) -> None:
    """Run every task, several at once; the first error stops the rest and is raised.

    The next task is asked for when a thread is free, by that thread alone, so no more are in memory
    than are being worked on. They begin in their order.

    Args:
        tasks: The tasks.
        n_threads: Number of threads.
        tool: Makes what a thread needs of its own; each task is given that of its thread.
    """
    crew = _Crew(tasks, tool)
    threads = [threading.Thread(target=crew.work, daemon=True) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:
        crew.stop.set()  # Ctrl-C: let every thread end what it is at
        for thread in threads:
            thread.join()
        raise
    if crew.errors:
        raise crew.errors[0]


class Gate:
    """Holds back some tasks until another has done what they need; open at first."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._is_open.set()
        self._error: BaseException | None = None

    def shut(self) -> None:
        """Hold back who comes now."""
        self._is_open.clear()

    @contextmanager
    def opening(self) -> Generator[None]:
        """Open the gate when the block ends; what it raises is raised by who waits, too."""
        try:
            yield
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._is_open.set()

    def wait(self) -> None:
        """Wait until it is open."""
        self._is_open.wait()
        if self._error is not None:
            raise self._error


class _Crew(Generic[_Tool]):
    def __init__(
        self, tasks: Iterator[Task[_Tool]], tool: Callable[[], AbstractContextManager[_Tool]]
    ) -> None:
        self._tasks = tasks
        self._tool = tool
        self._lock = threading.Lock()
        self.stop = threading.Event()
        self.errors: list[BaseException] = []

    def work(self) -> None:
        try:
            with self._tool() as tool:
                while (task := self._next()) is not None:
                    task(tool)
                    del task  # and with it the buffers, before the next is asked for
        except BaseException as error:  # noqa: BLE001  (raised by the thread that waits)
            self.errors.append(error)
            self.stop.set()

    def _next(self) -> Task[_Tool] | None:
        with self._lock:
            return None if self.stop.is_set() else next(self._tasks, None)
