"""Let other processes fill pieces: threads that read small files wait for Python's lock instead.

Each call that opens, reads or hashes a small file lets go of the lock for some microseconds;
threads that do so at once spend three times as long on passing it to each other. Processes need no
lock. They write to a file themselves where the package is one; else they fill buffers in memory
that they share with this process, which sends what is in them.
"""

from __future__ import annotations

import mmap
import queue
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from prefect_datasets.core.processes import Child, Memory, read_answer, start_children
from prefect_datasets.core.publish import packer
from prefect_datasets.core.publish.ahead import started_ahead
from prefect_datasets.core.publish.fill import Batch, Hashes, fill

if TYPE_CHECKING:
    from prefect_datasets.core.store import Upload


class Buffer:
    """A place for one piece.

    Attributes:
        start: Where in the memory it begins.
        view: Its bytes.
    """

    def __init__(self, start: int, view: memoryview) -> None:
        self.start = start
        self.view = view


class Packers:
    """Buffers for pieces, and who fills them; leaving the block ends the processes.

    Without processes the thread that asks does it, one at a time.

    Args:
        n_processes: How many processes to start; 0 for none.
        n_buffers: How many pieces there are at a time.
        buffer_bytes: Size of the largest piece.
    """

    def __init__(self, n_processes: int, n_buffers: int, buffer_bytes: int) -> None:
        step = -(-max(buffer_bytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        n_bytes = step * n_buffers
        self._stack = ExitStack()
        self._free: queue.LifoQueue[Buffer] = queue.LifoQueue()
        self._hands: queue.SimpleQueue[Child | None] = queue.SimpleQueue()
        started = started_ahead(n_bytes) if n_processes else None
        memory, children = started or (self._memory(n_bytes), [])
        for start in reversed(range(0, n_bytes, step)):
            self._free.put(Buffer(start, memory.view[start : start + step]))
        new = start_children(packer.__name__, memory, n_processes - len(children))
        for child in new:
            self._stack.callback(child.end)
        for hand in [*children, *new] or [None]:
            self._hands.put(hand)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextmanager
    def buffer(self) -> Generator[Buffer]:
        """Lend a buffer; it is used again once the block is left."""
        buffer = self._free.get()
        try:
            yield buffer
        finally:
            self._free.put(buffer)

    def fill(self, buffer: Buffer, n_bytes: int, batch: Batch) -> Hashes:
        """Fill the first `n_bytes` of a buffer; raises as `fill.fill` does."""
        order = (packer.FILL, buffer.start, buffer.start + n_bytes, *batch)
        with self._ordered(*order) as found:
            return found or fill(buffer.view[:n_bytes], batch)

    def write(self, upload: Upload, index: int, offset: int, n_bytes: int, batch: Batch) -> Hashes:
        """Fill a piece and write it to its place in the file of an upload.

        Args:
            upload: The upload.
            index: Number of the piece.
            offset: Where in the object it begins.
            n_bytes: Its size.
            batch: Its files.

        Raises:
            DatasetError: As `fill.fill` and `Upload.piece` do.
        """
        with self._ordered(packer.WRITE, upload.file, offset, n_bytes, *batch) as found:
            if found:
                return found
            with self.buffer() as buffer:  # what it can't write fails here in its own words
                view = buffer.view[:n_bytes]
                hashes = fill(view, batch)
                upload.piece(index, offset, view)
                return hashes

    @contextmanager
    def _ordered(self, what: int, *fields: Any) -> Generator[Hashes | None]:
        """Let a process do something; what it could not do is to be done in the block."""
        hand = self._hands.get()
        found: Hashes | None = None
        try:
            if hand is not None:
                try:
                    done = read_answer(hand.ask(packer.order(what, *fields)))
                    found = Hashes(*done) if done else None
                except (EOFError, OSError):
                    hand.end()
                    hand = None  # it was killed: what it did is done here, as is the rest
            yield found
        finally:
            self._hands.put(hand)

    def _memory(self, n_bytes: int) -> Memory:
        memory = Memory(n_bytes)
        self._stack.callback(memory.close)
        return memory
