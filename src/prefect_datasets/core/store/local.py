"""A folder as a store: a file per object, on this machine or a shared file system."""

# ruff: noqa: PTH103, PTH105, PTH106, PTH108, PTH112, PTH113, PTH116, PTH118, PTH120, PTH123 - names
# are kept as text: a Path for each of a million files costs seconds

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from prefect_datasets.core.errors import ConflictError
from prefect_datasets.core.store.base import (
    ObjectInfo,
    Range,
    Reader,
    Store,
    Upload,
    buffers_of,
    folder_prefix,
    too_short,
)
from prefect_datasets.core.store.keys import TEMPORARY
from prefect_datasets.core.store.local_files import copy_range, read_at, read_into, write_at
from prefect_datasets.core.store.translate import translating

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Pieces are what a caller keeps in memory; a local disk gains nothing from larger ones.
PIECE_BYTES = 8 << 20
# Answers of file systems that have no hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

_Result = TypeVar("_Result")


class LocalStore(Store):
    """Objects as files below one folder, which is made with the first object."""

    # The kernel serves one writer per folder at a time; more threads only wait.
    n_threads = 4

    def __init__(self, root: Path, options: Mapping[str, object]) -> None:
        super().__init__(f"file://{quote(str(root))}", options, kind="file", bucket=str(root))
        self._root = str(root)

    def url_of(self, key: str) -> str:
        """Return the path of the object at `key`: what a user can look at."""
        return self._path(key)

    def read(self, key: str) -> bytes:
        with translating("read", self, key), open(self._path(key), "rb", buffering=0) as file:
            return file.read()

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        with translating("read", self, key):
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = read_at(descriptor, start, length)
            finally:
                os.close(descriptor)
        if len(data) != length:
            raise too_short(self.url_of(key), start, length, len(data))
        return memoryview(data)

    def reader(self) -> Reader:
        return LocalReader(self)

    def info(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        with translating("look at", self, key):
            try:
                status = os.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                return None
            if os.path.isdir(path):
                return None
            return ObjectInfo(key, status.st_size, status.st_mtime)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folders = [folder_prefix(prefix)]
        while folders:
            folder = folders.pop()
            for entry in self._entries(folder):
                key = folder + entry.name
                if entry.is_dir():
                    folders.append(f"{key}/")
                elif (found := _entry_info(entry, key)) is not None:
                    yield found

    def list_folders(self, prefix: str) -> list[str]:
        entries = self._entries(folder_prefix(prefix))
        return sorted(entry.name for entry in entries if entry.is_dir())

    def write(self, key: str, data: Buffer) -> None:
        with translating("write", self, key):
            temporary = self._write_temporary(key, data)
            _or_drop(temporary, lambda: os.replace(temporary, self._path(key)))

    def create(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with translating("create", self, key):
            temporary = self._write_temporary(key, data, sync=True)
            try:
                _link_or_create(temporary, path, data)
            except FileExistsError as error:
                raise ConflictError("The object is there already", subject=path) from error
            finally:
                os.unlink(temporary)

    def upload(self, key: str, n_bytes: int) -> LocalUpload:
        with translating("write", self, key):
            descriptor, temporary = self._open_temporary(key)
        return LocalUpload(self, key, descriptor, temporary, n_bytes=n_bytes)

    def copy(self, source: str, target: str) -> None:
        with translating("copy", self, source):
            n_bytes = os.stat(self._path(source)).st_size
        with self.upload(target, n_bytes) as upload:
            upload.copy(0, 0, Range(source, 0, n_bytes))
            upload.complete()

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self._path(key)
            with translating("delete", self, key):
                try:
                    os.unlink(path)
                except (FileNotFoundError, NotADirectoryError):
                    continue
            self._drop_empty_folders(os.path.dirname(path))

    def abort_stale_uploads(self, older_than_seconds: float) -> int:
        limit = time.time() - older_than_seconds
        n_dropped = 0
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = os.path.join(folder, name)
                if name.startswith(TEMPORARY) and _drop_if_older(path, limit):
                    n_dropped += 1
        return n_dropped

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        with translating("list", self, folder):
            try:
                entries = os.scandir(self._path(folder))
            except FileNotFoundError:
                return
            except NotADirectoryError:
                if os.path.isfile(self._root):
                    raise  # the store itself is no folder: that is not the same as empty
                return
            with entries:
                for entry in entries:
                    if not entry.name.startswith(TEMPORARY):
                        yield entry

    def _open_temporary(self, key: str) -> tuple[int, str]:
        folder = os.path.dirname(self._path(key))
        temporary = f"{folder}/{TEMPORARY}{os.urandom(16).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with suppress(FileNotFoundError):
            return os.open(temporary, flags, 0o666), temporary
        for _ in range(100):
            os.makedirs(folder, exist_ok=True)
            # A concurrent delete takes empty folders away, perhaps between these two calls.
            try:
                return os.open(temporary, flags, 0o666), temporary
            except FileNotFoundError:
                continue
        raise FileNotFoundError(errno.ENOENT, "The folder vanishes as it is made", folder)

    def _write_temporary(self, key: str, data: Buffer, *, sync: bool = False) -> str:
        descriptor, temporary = self._open_temporary(key)
        try:
            _or_drop(temporary, lambda: _write_whole(descriptor, data, sync=sync))
        finally:
            os.close(descriptor)
        return temporary

    def _drop_empty_folders(self, folder: str) -> None:
        while len(folder) > len(self._root):
            try:
                os.rmdir(folder)
            except OSError:
                return
            folder = os.path.dirname(folder)


class LocalReader(Reader):
    """Reads without an object in between."""

    def read_into(self, key: str, start: int, buffer: memoryview) -> None:
        with translating("read", self._store, key):
            descriptor = os.open(self._store.url_of(key), os.O_RDONLY | os.O_CLOEXEC)
            try:
                got = read_into(descriptor, start, buffer)
            finally:
                os.close(descriptor)
        if got != len(buffer):
            raise too_short(self._store.url_of(key), start, len(buffer), got)


class LocalUpload(Upload):
    """Pieces go to their place in a hidden file beside the target, which one rename shows."""

    piece_bytes = PIECE_BYTES
    can_copy = True

    def __init__(
        self, store: LocalStore, key: str, descriptor: int, temporary: str, *, n_bytes: int
    ) -> None:
        super().__init__(n_bytes)
        self._store = store
        self._key = key
        self._descriptor = descriptor
        self._temporary = self.file = temporary

    def piece(self, index: int, offset: int, data: Buffer | Sequence[Buffer]) -> None:
        del index
        with translating("write", self._store, self._key):
            write_at(self._descriptor, offset, buffers_of(data))

    def copy(self, index: int, offset: int, source: Range) -> None:
        del index
        with translating("copy", self._store, source.key):
            reading = os.open(self._store.url_of(source.key), os.O_RDONLY | os.O_CLOEXEC)
            try:
                got = copy_range(reading, source.start, self._descriptor, offset, source.length)
            finally:
                os.close(reading)
        if got != source.length:
            raise too_short(self._store.url_of(source.key), source.start, source.length, got)

    def complete(self) -> None:
        with translating("write", self._store, self._key):
            n_bytes = os.fstat(self._descriptor).st_size
            assert n_bytes == self.n_bytes, f"{n_bytes} of {self.n_bytes} bytes were sent"
            os.replace(self._temporary, self._store.url_of(self._key))
            self._close()

    def abort(self) -> None:
        if self._descriptor >= 0:
            _unlink_if_there(self._temporary)
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


def _entry_info(entry: os.DirEntry[str], key: str) -> ObjectInfo | None:
    """Return what is known of a listed file, or None if it has gone since."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    return ObjectInfo(key, status.st_size, status.st_mtime)


def _write_whole(descriptor: int, data: Buffer, *, sync: bool) -> None:
    write_at(descriptor, 0, [data])
    if sync:
        os.fsync(descriptor)


def _link_or_create(temporary: str, path: str, data: bytes) -> None:
    """Show the object at `path` if none is there; of several at once exactly one succeeds."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without links the winner is still certain, but a reader may see a half-written object.
        with open(path, "xb") as file:
            file.write(data)


def _or_drop(temporary: str, act: Callable[[], _Result]) -> _Result:
    """Call `act`; drop the temporary file if it fails."""
    try:
        return act()
    except BaseException:
        _unlink_if_there(temporary)
        raise


def _drop_if_older(path: str, limit: float) -> bool:
    try:
        if os.stat(path).st_mtime >= limit:
            return False
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _unlink_if_there(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
