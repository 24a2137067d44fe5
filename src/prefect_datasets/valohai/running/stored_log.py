"""The whole log of a run, beside its outputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.format.keys import log_key

if TYPE_CHECKING:
    from prefect_datasets.core.progress import Progress
    from prefect_datasets.core.store import Store


def store_log(file: Path, execution: str, store: Store, progress: Progress) -> None:
    """Store the log of a run that printed something; that it can't be is a warning."""
    n_bytes = file.stat().st_size
    if not n_bytes:
        return
    try:
        _upload(file, log_key(execution), n_bytes, store)
    except DatasetError as error:
        progress.warn(f"The log is not stored: {error}")


def _upload(file: Path, key: str, n_bytes: int, store: Store) -> None:
    with file.open("rb") as stream:
        if n_bytes <= 1 << 20:
            store.write(key, stream.read())
            return
        with store.upload(key, n_bytes) as upload:
            offset = index = 0
            while data := stream.read(upload.piece_bytes):
                upload.piece(index, offset, data)
                offset += len(data)
                index += 1
            upload.complete()
