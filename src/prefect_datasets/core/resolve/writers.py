"""Who writes and links the files of a resolve: other processes, or the thread that asks.

The bytes that files are made of lie in memory that the processes share with this one, where the
network put them; what is sent are names, places and digests. Without processes, and for bytes that
lie elsewhere, the thread that asks does it; no more of them at a time than there are processors.
"""

from __future__ import annotations

import marshal
import os
import queue
import threading
from contextlib import suppress
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, Self

from prefect_datasets.core.processes import (
    Child,
    Memory,
    n_processors,
    read_answer,
    start_children,
)
from prefect_datasets.core.resolve import writer
from prefect_datasets.core.resolve.link import link_files
from prefect_datasets.core.resolve.write_files import write_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from prefect_datasets.core.resolve.hands import Hands
    from prefect_datasets.core.resolve.write_files import Contents

# Fewer files are written before a process has started.
_LEAST_FILES = 4_000
# More would wait for the network, or for the file system.
_MOST = 8
# What is lent beyond that is not shared.
_MEMORY_BYTES = 256 << 20


class Writers:
    """Writes and links files of a tree; leaving the block ends the processes.

    Args:
        root: The tree.
        n_files: About how many files there will be; for few no process is started.

    Attributes:
        made: The folders that were made in the tree.
    """

    def __init__(self, root: Path, n_files: int) -> None:
        self._root = root
        self.made: set[str] = set()
        self._memory = Memory(_MEMORY_BYTES if n_files >= _LEAST_FILES else 0)
        self._n_lent = 0
        self._lock = threading.Lock()
        n_hands = min(n_processors(), _MOST)
        n_children = n_hands if n_files >= _LEAST_FILES and n_hands > 1 else 0
        self._children = start_children(writer.__name__, self._memory, n_children)
        self._free: queue.SimpleQueue[Child | None] = queue.SimpleQueue()
        for hand in islice(chain(self._children, repeat(None)), n_hands):
            self._free.put(hand)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children:
            child.end()
        self._memory.close()

    def lend(self, n_bytes: int) -> memoryview:
        """Return memory to read into, for good; shared with the processes as long as there is."""
        with self._lock:
            first, end = self._n_lent, self._n_lent + n_bytes
            if end <= len(self._memory.view):
                self._n_lent = end
                return self._memory.view[first:end]
        return memoryview(bytearray(n_bytes))

    def write(self, contents: Contents, buffer: memoryview, hands: Hands) -> list[int]:
        """Write files; returns and raises what `write_files` does."""
        child = self._free.get()
        try:
            place = self._place(buffer) if child else None
            if child and place is not None:
                fields = (place, place + len(buffer), *contents.columns())
                try:
                    answer = self._ask(child, writer.WRITE, fields)
                except (EOFError, OSError):
                    child = self._lose(child, contents.paths, hands)
                else:
                    return self._read(answer)
            return write_files(contents, buffer, hands.target, self._root)
        finally:
            self._free.put(child)

    def link(self, source: Path, old: list[str], new: list[str], hands: Hands) -> list[int]:
        """Link files of another tree; returns and raises what `link_files` does.

        Raises:
            FileNotFoundError: There is no such tree any more.
        """
        child = self._free.get()
        try:
            if child:
                try:
                    answer = self._ask(child, writer.LINK, (str(source), old, new))
                except (EOFError, OSError):
                    child = self._lose(child, new, hands)
                else:
                    return self._read(answer)
            pairs = zip(old, new, strict=True)
            return link_files(pairs, hands.source(source), hands.target, self._root)
        finally:
            self._free.put(child)

    def link_tree(self, source: Path, turn: int, n_turns: int) -> list[int]:
        """Let a process link what of another tree is in every `n_turns`th folder.

        Returns:
            How many files it has linked, and the sum of their `name_checksum`s.

        Raises:
            DatasetError: A file could not be linked, or the process is gone.
            OSError: Likewise.
        """
        child = self._free.get()
        try:
            if child is None:
                raise ProcessLookupError
            try:
                answer = self._ask(child, writer.TREE, (str(source), turn, n_turns))
            except (EOFError, OSError) as error:
                child.end()
                child = None
                raise ProcessLookupError from error
            return self._read(answer)
        finally:
            self._free.put(child)

    @property
    def n_processes(self) -> int:
        """How many processes were started."""
        return len(self._children)

    def _ask(self, child: Child, what: str, fields: tuple[Any, ...]) -> bytes:
        return child.ask(marshal.dumps((str(self._root), what, fields)))

    def _read(self, answer: bytes) -> list[int]:
        numbers, made = read_answer(answer)
        self.made.update(made)
        return numbers

    def _lose(self, child: Child, paths: Sequence[str], hands: Hands) -> None:
        """Forget a process that was killed, and what it may have made of its last files."""
        child.end()
        for path in paths:
            folder, _, name = path.rpartition("/")
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=hands.target.get(folder))
            while folder:  # which it may have made
                self.made.add(folder)
                folder = folder.rpartition("/")[0]

    def _place(self, buffer: memoryview) -> int | None:
        """Return where in the shared memory a buffer begins; None for another one."""
        from numpy import frombuffer, uint8  # noqa: PLC0415  (slow; not there while this is loaded)

        if not len(buffer):
            return 0
        begin, here = (
            frombuffer(view, uint8).__array_interface__["data"][0]
            for view in (self._memory.view, buffer)
        )
        is_inside = begin <= here and here + len(buffer) <= begin + len(self._memory.view)
        return here - begin if is_inside else None
