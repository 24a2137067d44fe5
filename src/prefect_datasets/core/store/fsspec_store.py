"""Any filesystem that fsspec knows as a store."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.errors import ConflictError
from prefect_datasets.core.store.base import (
    ObjectInfo,
    Store,
    Upload,
    folder_prefix,
    joined,
    too_short,
)
from prefect_datasets.core.store.translate import translating

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIECE_BYTES = 16 << 20


class FsspecStore(Store):
    """Objects on a filesystem of fsspec's.

    Each process has a filesystem object of its own: an event loop does not survive a fork.
    """

    def __init__(self, scheme: str, root: str, options: Mapping[str, object]) -> None:
        url = f"{scheme}://{root}"
        super().__init__(url, options, kind=scheme, bucket=root.partition("/")[0])
        self._scheme = scheme
        self._root = root
        self._filesystems: dict[int, Any] = {}

    @property
    def fs(self) -> Any:
        """The filesystem; it keeps no listings, so that it shows what others write."""
        return self._filesystems.get(os.getpid()) or self._filesystems.setdefault(
            os.getpid(), self._open_filesystem()
        )

    def _open_filesystem(self) -> Any:
        import fsspec

        return fsspec.filesystem(
            self._scheme, **{"use_listings_cache": False, "skip_instance_cache": True}, **self._options
        )

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}" if self._root else key

    def _key(self, path: str) -> str:
        return path.lstrip("/").removeprefix(self._root.lstrip("/")).lstrip("/")

    def read(self, key: str) -> bytes:
        with translating("read", self, key):
            return bytes(self.fs.cat_file(self._path(key)))

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        if length == 0:
            return memoryview(b"")
        with translating("read", self, key):
            data = self.fs.cat_file(self._path(key), start=start, end=start + length)
        if len(data) != length:
            raise too_short(self.url_of(key), start, length, len(data))
        return memoryview(data)

    def info(self, key: str) -> ObjectInfo | None:
        with translating("look at", self, key):
            try:
                found = self.fs.info(self._path(key))
            except FileNotFoundError:
                return None
        if found["type"] == "directory":
            return None
        return ObjectInfo(key, int(found["size"]), modified_of(found))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folders = [folder_prefix(prefix)]
        while folders:
            for entry in self._entries(folders.pop()):
                key = self._key(entry["name"])
                if entry["type"] == "directory":
                    folders.append(folder_prefix(key))
                else:
                    yield ObjectInfo(key, int(entry["size"]), modified_of(entry))

    def list_folders(self, prefix: str) -> list[str]:
        entries = self._entries(folder_prefix(prefix))
        folders = [entry["name"] for entry in entries if entry["type"] == "directory"]
        return sorted(name.rstrip("/").rpartition("/")[2] for name in folders)

    def _entries(self, folder: str) -> Sequence[Mapping[str, Any]]:
        with translating("list", self, folder):
            try:
                return self.fs.ls(self._path(folder).rstrip("/"), detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []

    def write(self, key: str, data: Buffer) -> None:
        with translating("write", self, key):
            self._make_folder(key)
            self.fs.pipe_file(self._path(key), bytes(data))

    def create(self, key: str, data: bytes) -> None:
        with translating("create", self, key):
            self._make_folder(key)
            try:
                self.fs.pipe_file(self._path(key), data, mode="create")
            except FileExistsError as error:
                raise ConflictError(
                    "The object is there already", subject=self.url_of(key)
                ) from error

    def upload(self, key: str, n_bytes: int) -> FsspecUpload:
        return FsspecUpload(self, key, n_bytes)

    def copy(self, source: str, target: str) -> None:
        with translating("copy", self, source):
            self._make_folder(target)
            self.fs.cp_file(self._path(source), self._path(target))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            with translating("delete", self, key):
                try:
                    self.fs.rm_file(self._path(key))
                except FileNotFoundError:
                    continue

    def _make_folder(self, key: str) -> None:
        """Make the folder for an object; object stores have none, so the default does nothing."""


class FsspecUpload(Upload):
    """Pieces go to a writer in order; closing it shows the object."""

    piece_bytes = PIECE_BYTES
    any_order = False

    def __init__(self, store: FsspecStore, key: str, n_bytes: int) -> None:
        super().__init__(n_bytes)
        self._store = store
        self._key = key
        self._sent = 0
        self._file: Any = None

    def piece(self, index: int, offset: int, data: Buffer | Sequence[Buffer]) -> None:
        del index
        assert offset == self._sent, f"piece at {offset}, expected at {self._sent}"
        with translating("write", self._store, self._key):
            if self._file is None:
                self._file = self._open()
            whole = joined(data)
            self._file.write(whole)
            self._sent += memoryview(whole).nbytes

    def _open(self) -> Any:
        path = self._store._path(self._key)
        self._store._make_folder(self._key)
        return self._store.fs.open(path, "wb", block_size=self.piece_bytes, autocommit=True)

    def complete(self) -> None:
        assert self._sent == self.n_bytes, f"{self._sent} of {self.n_bytes} bytes were sent"
        if self._file is None:
            self._store.write(self._key, b"")
            return
        with translating("write", self._store, self._key):
            file, self._file = self._file, None
            file.close()

    def abort(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.discard()
            file.closed = True


def modified_of(info: Mapping[str, Any]) -> float:
    """Return when an object was written, from what a filesystem says about it."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "modified", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            return datetime.fromisoformat(value).timestamp()
    return 0.0
