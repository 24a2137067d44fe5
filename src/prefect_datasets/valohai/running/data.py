"""Many datums at once: what an edge of a pipeline hands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_datasets.core.resolve.listing import Listing, of_datum
from prefect_datasets.core.resolve.objects import resolve_objects
from prefect_datasets.core.versions.datums import StoredFile, find_data

if TYPE_CHECKING:
    from prefect_datasets.core.cache.cache import Cache
    from prefect_datasets.core.progress import Progress
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.uri import DatumUri


@dataclass(frozen=True, slots=True)
class Datum:
    """A stored file on this machine.

    Attributes:
        asked: The URI it was asked for by.
        file: The stored file.
        path: Where in the folder it is.
    """

    asked: str
    file: StoredFile
    path: str


@dataclass(frozen=True, slots=True)
class Data:
    """Stored files on this machine.

    Attributes:
        folder: A read-only folder of the cache.
        files: The files, in the order they were asked for, each once.
        n_fetched_bytes: Bytes that were fetched for them now.
    """

    folder: Path
    files: tuple[Datum, ...]
    n_fetched_bytes: int


def bring_data(uris: Sequence[DatumUri], store: Store, cache: Cache, progress: Progress) -> Data:
    """Make stored files available in one folder, each in a folder of its own in that.

    Raises:
        NotFoundError: There is no such file or alias.
        StoreError: The store failed.
    """
    stored = find_data(store, uris)
    found = {file.id: (uri, file) for uri, file in zip(uris, stored, strict=True)}
    files = tuple(Datum(str(uri), file, f"{file.id}/{file.path}") for uri, file in found.values())
    items = [replace(of_datum("", datum.file, store).items[0], path=datum.path) for datum in files]
    uri = f"{uris[0]}" if len(files) == 1 else f"{uris[0]} and {len(files) - 1} more"
    listing = Listing(uri, store, tuple(sorted(items, key=lambda item: item.path.encode())), "")
    objects = resolve_objects(listing, cache=cache, progress=progress)
    return Data(objects.path, files, objects.n_fetched_bytes)
