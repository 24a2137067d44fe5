"""What a publish begins before it can go on with it: another process lists the files.

Arrow and numpy take a quarter of a second to load, and so does a look at each of 100,000 files:
with a second processor both are done at once. The process packs when it has listed the files.
Nothing here imports what it runs beside.
"""

from __future__ import annotations

import os
from array import array
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from prefect_datasets.core.metadata.walk import Chunk, Walked
from prefect_datasets.core.processes import (
    Child,
    Memory,
    n_processors,
    read_answer,
    start_children,
)
from prefect_datasets.core.publish import packer

if TYPE_CHECKING:
    from types import TracebackType

MAX_PROCESSES = 4
# None of it is taken before pieces are put there.
_MEMORY_BYTES = 256 << 20
# Needed at the end only.
_LATE_MODULE = "pyarrow.parquet"


class Started(NamedTuple):
    """Processes that are there already, and their memory; whoever started them ends them."""

    memory: Memory
    children: list[Child]


_STARTED: ContextVar[Started | None] = ContextVar("_STARTED", default=None)


def started_ahead(n_bytes: int) -> Started | None:
    """Return the packers that were started ahead, if their memory has `n_bytes` at least."""
    started = _STARTED.get()
    return started if started and len(started.memory.view) >= n_bytes else None


class Ahead:
    """Begins to list the files below a folder; leaving the block ends the processes.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root)
        self._stack = ExitStack()
        self._started: Started | None = None

    def __enter__(self) -> Self:
        if n_processors() > 1:
            memory = Memory(_MEMORY_BYTES)
            self._stack.callback(memory.close)
            self._started = Started(memory, [])
            self._start(1)
        if self._children:
            with suppress(OSError):  # it has gone already: that shows when it is asked
                self._children[0].tell(packer.order(packer.LIST, self._root))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def walked(self) -> Walked | None:
        """Return what the walk found; None where there was none. To be called once."""
        if not self._children:
            return None
        if not self._children[0].has_answered():  # it is a long list
            self._use_the_time()
        try:
            found = read_answer(self._children[0].hear())
        except (EOFError, OSError):  # it was killed
            return None
        before = _STARTED.set(self._started)
        self._stack.callback(_STARTED.reset, before)
        return _as_walked(*found) if found else None

    def _use_the_time(self) -> None:
        """Begin what will be needed, while there is nothing to be done."""
        self._start(min(n_processors(), MAX_PROCESSES) - 1)
        import_module(_LATE_MODULE)

    def _start(self, n_children: int) -> None:
        assert self._started is not None
        for child in start_children(packer.__name__, self._started.memory, n_children):
            self._stack.callback(child.end)
            self._children.append(child)

    @property
    def _children(self) -> list[Child]:
        return self._started.children if self._started else []


def _as_walked(
    chunks: list[tuple[bytes, bytes, bytes, bytes]],
    metadata: list[bytes],
    warnings: list[str],
    refused: list[str],
) -> Walked:
    columns = (
        Chunk(paths, array("i", lengths), array("q", sizes), array("q", modified))
        for paths, lengths, sizes, modified in chunks
    )
    return Walked([*columns], metadata, warnings, refused)
