"""What a resolve begins before it can go on with it: modules and a table come side by side.

Arrow and numpy take a third of a second to load, and the first table some round trips; neither
needs the other. Nothing here imports what it loads.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Self

from prefect_datasets.core.errors import DatasetError

if TYPE_CHECKING:
    from prefect_datasets.core.resolve.head import PackageHead
    from prefect_datasets.core.resolve.mirror import Mirror
    from prefect_datasets.core.resolve.writers import Writers
    from prefect_datasets.core.store import Store

_ENGINE = "prefect_datasets.core.resolve.extract"


class Loading:
    """Loads the modules of the engine in a thread; whoever leaves the block waits for its end."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin, if it has not begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=_load, name="load")
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:  # a process that ends while Arrow is being loaded may crash
            self._thread.join()


def _load() -> None:
    with suppress(Exception):  # who needs it imports it again and gets the error
        import_module(_ENGINE)


@dataclass(frozen=True, slots=True)
class Begun:
    """What goes on already when the engine is there.

    Attributes:
        writers: Who writes the files.
        mirror: The tree of the version before, being linked.
        first: The first table, being fetched.
        head: The begin of the first package, likewise.
    """

    writers: Writers
    mirror: Mirror
    first: FirstTable
    head: PackageHead


class FirstTable:
    """Fetches the table of a version's first part; whoever leaves the block waits for its end.

    Args:
        store: The store.
        key: The table's key; None to fetch nothing.
    """

    def __init__(self, store: Store, key: str | None) -> None:
        self._store = store
        self._key = key
        self._data: bytes | None = None
        self._thread = threading.Thread(target=self._read, name="table", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.join()

    def _read(self) -> None:
        if self._key is not None:
            with suppress(DatasetError):  # it is read again, and fails again or not
                self._data = self._store.read(self._key)

    def take(self, key: str) -> bytes | None:
        """Return the table if it is this one and there; only once."""
        if key != self._key:
            return None
        self._thread.join()
        data, self._data = self._data, None
        return data
