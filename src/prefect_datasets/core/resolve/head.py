"""The first bytes of a version's package, fetched while what extracts them is still being loaded.

Loading takes a processor for a third of a second, in which the network and the store have nothing
else to do. Nothing is imported here that takes time.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect_datasets.core.format.record import Part
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.store.base import Range

_BLOCK_BYTES = 8 << 20
_MOST_BLOCKS = 4
_N_THREADS = 4
# Larger files are read in another way.
_MOST_MEAN_BYTES = 1 << 20


class PackageHead:
    """Fetches the head of a part's package; whoever leaves the block waits for its end.

    Args:
        store: The store.
        part: The part, None to fetch nothing.
        lend: Lends the memory to read into.

    Attributes:
        n_bytes: How much is fetched.
    """

    def __init__(self, store: Store, part: Part | None, lend: Callable[[int], memoryview]) -> None:
        self._store = store
        self._key = ""
        self.n_bytes = 0
        if part is not None and part.package is not None and _is_worth_it(store, part):
            self._key = part.package.key
            self.n_bytes = min(part.n_bytes, _MOST_BLOCKS * _BLOCK_BYTES)
        self._buffer = lend(self.n_bytes)
        starts = range(0, self.n_bytes, _BLOCK_BYTES)
        self._done = {start: threading.Event() for start in starts}
        self._whole: set[int] = set()
        self._threads = [
            threading.Thread(target=self._read, args=(starts[number::_N_THREADS],), name="head")
            for number in range(min(_N_THREADS, len(starts)))
        ]
        self._lock = threading.Lock()
        self._n_left = self.n_bytes

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.daemon = True
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for thread in self._threads:
            thread.join()

    def take(self, wanted: Range) -> memoryview:
        """Return as many of the wanted bytes, from their first on, as are here."""
        end = min(wanted.start + wanted.length, self.n_bytes)
        if wanted.key != self._key or wanted.start >= end:
            return memoryview(b"")
        first = wanted.start - wanted.start % _BLOCK_BYTES
        for start in range(first, end, _BLOCK_BYTES):
            self._done[start].wait()
            if start not in self._whole:
                end = max(start, wanted.start)
                break
        with self._lock:
            data = self._buffer[wanted.start : end]
            self._n_left -= len(data)
            if not self._n_left:
                self._buffer = memoryview(b"")
        return data

    def _read(self, starts: range) -> None:
        # What failed is read again by who wants it, and fails again or not.
        with suppress(Exception), self._store.reader() as reader:
            for start in starts:
                end = min(start + _BLOCK_BYTES, self.n_bytes)
                reader.read_into(self._key, start, self._buffer[start:end])
                self._whole.add(start)
                self._done[start].set()
        for start in starts:
            self._done[start].set()


def _is_worth_it(store: Store, part: Part) -> bool:
    return store.kind not in ("file", "memory") and part.n_bytes <= part.n_files * _MOST_MEAN_BYTES
