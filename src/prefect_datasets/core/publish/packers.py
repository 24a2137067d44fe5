"""Let other processes fill pieces: threads that read small files wait for Python's lock instead.

Each call that opens, reads or hashes a small file lets go of the lock for some microseconds;
threads that do so at once spend three times as long on passing it to each other. Processes need no
lock. They fill buffers in memory that they share with this process, which sends what is in them.
"""

from __future__ import annotations

import marshal
import mmap
import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.publish.fill import Batch, Hashes, fill
from prefect_datasets.core.publish.packer import receive, send

_CODE = (
    "import sys, marshal; sys.path[:] = marshal.loads(bytes.fromhex(sys.argv[3]));"
    "from prefect_datasets.core.publish.packer import main;"
    "main(int(sys.argv[1]), int(sys.argv[2]))"
)
_SOURCES = str(Path(__file__).parents[3])
_END_SECONDS = 5.0


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
        self._stack = ExitStack()
        self._free: queue.LifoQueue[Buffer] = queue.LifoQueue()
        self._hands: queue.SimpleQueue[_Packer | None] = queue.SimpleQueue()
        descriptor = _memory(step * n_buffers) if n_processes and _can_start() else -1
        whole = memoryview(mmap.mmap(descriptor, step * n_buffers))
        for start in reversed(range(0, step * n_buffers, step)):
            self._free.put(Buffer(start, whole[start : start + step]))
        if descriptor < 0:
            self._hands.put(None)
            return
        self._stack.callback(os.close, descriptor)
        for _ in range(n_processes):
            self._hands.put(self._started(descriptor))

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
        hand = self._hands.get()
        try:
            if hand is not None:
                try:
                    return hand.fill(buffer.start, buffer.start + n_bytes, batch)
                except (EOFError, OSError, pickle.UnpicklingError):
                    hand.end()
                    hand = None  # it was killed: what it did is done here, as is the rest
            return fill(buffer.view[:n_bytes], batch)
        finally:
            self._hands.put(hand)

    def _started(self, descriptor: int) -> _Packer | None:
        with suppress(OSError):
            packer = _Packer(descriptor)
            self._stack.callback(packer.end)
            return packer
        return None


class _Packer:
    """A process, and the two pipes to it."""

    def __init__(self, memory: int) -> None:
        paths = [*sys.path, _SOURCES]
        command = [sys.executable, "-S", "-c", _CODE]
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [*command, str(memory), str(os.getpid()), marshal.dumps(paths).hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(memory,),
            process_group=0,  # Ctrl-C is for this process, which ends the others
        )

    def fill(self, start: int, end: int, batch: Batch) -> Hashes:
        """Let the process fill a piece; raises what it raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        send(self._process.stdin, marshal.dumps((start, end, *batch)))
        found: Hashes | DatasetError = pickle.loads(receive(self._process.stdout))  # noqa: S301 - from our child
        if isinstance(found, DatasetError):
            raise found
        return found

    def end(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def n_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _can_start() -> bool:
    """Whether the interpreter can be started again: not where a program has it built in."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def _memory(n_bytes: int) -> int:
    """Return the descriptor of new memory that processes can share, or -1."""
    if not hasattr(os, "memfd_create"):
        return -1
    try:
        descriptor = os.memfd_create("prefect-datasets")
        os.ftruncate(descriptor, n_bytes)
    except OSError:
        return -1
    return descriptor
