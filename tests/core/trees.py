"""Stores that count and misbehave, and trees as dicts, for tests of resolving."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from prefect_datasets.core.store import Range
from prefect_datasets.core.store.base import Reader
from prefect_datasets.core.store.local import LocalStore


class CountingStore(LocalStore):
    """A store on disk that writes each read of file bytes into a log, for all processes to see.

    Args:
        root: Its folder.
        log: Where a line for each read goes: key, start, length.
        pause: Seconds that a read takes at least.
    """

    def __init__(self, root: Path, log: Path, *, pause: float = 0.0) -> None:
        super().__init__(root, {})
        self._log = log
        self._pause = pause
        self.fail: dict[str, Exception] = {}

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        line = f"{key} {start} {length}\n".encode()
        handle = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, line)
        os.close(handle)
        time.sleep(self._pause)
        if key in self.fail:
            raise self.fail[key]
        return super().read_range(key, start, length)

    def reader(self) -> Reader:
        return Reader(self)

    def read_many(self, ranges: Sequence[Range]) -> list[memoryview]:
        return [self.read_range(*item) for item in ranges]

    def reads(self) -> list[Range]:
        """Return all reads so far, by whatever process."""
        if not self._log.exists():
            return []
        lines = [line.split(" ") for line in self._log.read_text().splitlines()]
        return [Range(key, int(start), int(length)) for key, start, length in lines]

    def n_bytes_read(self, *, but: str = ".parquet") -> int:
        """Return how many bytes were read, those of tables not counted."""
        return sum(item.length for item in self.reads() if not item.key.endswith(but))


def files_of(root: Path) -> dict[str, bytes]:
    """Read a folder into memory."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def many_files(n_files: int, *, n_bytes: int = 300, seed: int = 0) -> dict[str, bytes]:
    """Return files in a few folders, each with content of its own."""
    return {
        f"d{number % 7}/sub{number % 3}/f{number:05}": (f"{seed}/{number}/" * n_bytes).encode()[
            : n_bytes + number % 11
        ]
        for number in range(n_files)
    }


def overwrite(store: LocalStore, key: str, start: int, data: bytes) -> None:
    """Damage a stored object."""
    path = Path(store.url.removeprefix("file://")) / key
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def truncate(store: LocalStore, key: str, n_bytes: int) -> None:
    """Cut a stored object."""
    path = Path(store.url.removeprefix("file://")) / key
    path.chmod(0o644)
    os.truncate(path, n_bytes)
