"""A store that is not opened yet: a resolve from the cache needs its name, not the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prefect_datasets.core.store_name import identity_of

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """Where a store is and how to open it.

    Attributes:
        url: Its root, any fsspec URL; a plain path is a folder.
        options: Options of the filesystem.
    """

    url: str
    options: Mapping[str, object] = field(default_factory=dict[str, object])

    def open(self) -> Store:
        """Open the store."""
        from prefect_datasets.core.store import open_store  # noqa: PLC0415  (a warm resolve opens none)

        return open_store(self.url, self.options)


def identity(store: Store | StoreSpec) -> str:
    """Return a name for the store that no other store has, as far as this machine can tell."""
    if isinstance(store, StoreSpec):
        return identity_of(store.url, store.options)
    _, (url, options) = store.__reduce__()  # a store pickles as its URL and options
    return identity_of(url, options)
