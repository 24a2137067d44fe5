"""fsspec's memory filesystem as a store: for tests and trials, gone with the process."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.errors import ConflictError
from prefect_datasets.core.store.base import Upload, joined
from prefect_datasets.core.store.fsspec_store import FsspecStore
from prefect_datasets.core.store.local import PIECE_BYTES
from prefect_datasets.core.store.translate import translating

if TYPE_CHECKING:
    from typing_extensions import Buffer

# fsspec keeps one dictionary for the whole process, so that one lock guards all stores on it.
_lock = threading.RLock()


def _forget_lock() -> None:
    """Start anew after a fork: another thread of the parent may have held the lock."""
    global _lock  # noqa: PLW0603 - replaced only in a new process
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget_lock)


class MemoryStore(FsspecStore):
    """Objects in the memory of this process."""

    n_threads = 1

    def write(self, key: str, data: Buffer) -> None:
        with _lock:
            super().write(key, data)

    def create(self, key: str, data: bytes) -> None:
        with _lock:
            if self.info(key) is not None:
                raise ConflictError("The object is there already", subject=self.url_of(key))
            super().write(key, data)

    def upload(self, key: str, n_bytes: int) -> Upload:
        return MemoryUpload(self, key, n_bytes)

    def copy(self, source: str, target: str) -> None:
        with translating("copy", self, source):
            self.write(target, self.read(source))

    def _entries(self, folder: str) -> Sequence[Mapping[str, Any]]:
        with _lock:
            return super()._entries(folder)

    def _delete_one(self, key: str) -> None:
        with _lock:
            super()._delete_one(key)


class MemoryUpload(Upload):
    """Pieces are kept until all are there."""

    piece_bytes = PIECE_BYTES

    def __init__(self, store: MemoryStore, key: str, n_bytes: int) -> None:
        super().__init__(n_bytes)
        self._store = store
        self._key = key
        self._pieces: dict[int, bytes] = {}

    def piece(self, index: int, offset: int, data: Buffer | Sequence[Buffer]) -> None:
        del index
        self._pieces[offset] = bytes(joined(data))

    def complete(self) -> None:
        whole = b"".join(self._pieces[offset] for offset in sorted(self._pieces))
        assert len(whole) == self.n_bytes, f"{len(whole)} of {self.n_bytes} bytes were sent"
        self._store.write(self._key, whole)

    def abort(self) -> None:
        self._pieces.clear()
