"""Any filesystem that fsspec knows as a store."""

# ruff: noqa: PLC0415 - clients are slow to load, and only some stores need them

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.store.base import (
    ObjectInfo,
    Store,
    Upload,
    bare_etag,
    folder_prefix,
    joined,
    too_short,
)
from prefect_datasets.core.store.keys import TEMPORARY
from prefect_datasets.core.store.transfers import run_all
from prefect_datasets.core.store.translate import Failure, missing_package, translated, translating

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIECE_BYTES = 16 << 20
_DELETE_PAGE = 1000
# Filesystems whose objects appear whole as their writer is closed, and which need no folders.
_OBJECT_STORES = {"memory", "gs", "gcs", "az", "abfs", "abfss", "s3", "s3a", "oss", "oci", "cos"}


class FsspecStore(Store):
    """Objects on a filesystem of fsspec's, the kind of which makes them appear whole.

    Each process has a filesystem object of its own: an event loop does not survive a fork.
    """

    n_threads = 16

    def __init__(self, url: str, options: Mapping[str, object]) -> None:
        shown, scheme, bucket = _shown(url)
        super().__init__(shown, options, kind=scheme, bucket=bucket)
        self._full_url = url
        self._opened: dict[int, tuple[Any, str]] = {}

    @property
    def fs(self) -> Any:
        """The filesystem; it keeps no listings, so that it shows what others write."""
        return self._here()[0]

    def path_of(self, key: str) -> str:
        """Return the filesystem's own path for the object at `key`."""
        root = self._here()[1].rstrip("/")
        return f"{root}/{key}" if root else key

    def key_at(self, path: str) -> str:
        """Return the key of what the filesystem has at `path`."""
        return path.lstrip("/").removeprefix(self._here()[1].strip("/")).lstrip("/")

    def read(self, key: str) -> bytes:
        with translating("read", self, key):
            return bytes(self._fetch(key))

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        if length == 0:
            return memoryview(b"")
        data = self._fetch_range(key, start, length)
        if len(data) != length:
            data = self._fetch_range(key, start, length)
        if len(data) != length:
            raise too_short(self.url_of(key), start, length, len(data))
        return memoryview(data)

    def info(self, key: str) -> ObjectInfo | None:
        with translating("look at", self, key):
            try:
                found = self.fs.info(self.path_of(key))
            except (FileNotFoundError, NotADirectoryError):
                return None
        if found["type"] == "directory":
            return None
        return ObjectInfo(key, int(found["size"]), modified_of(found), etag_of(found))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folders = [folder_prefix(prefix)]
        while folders:
            for entry in self._entries(folders.pop()):
                key = self.key_at(entry["name"])
                if entry["type"] == "directory":
                    folders.append(folder_prefix(key))
                else:
                    n_bytes = int(entry["size"] or 0)
                    yield ObjectInfo(key, n_bytes, modified_of(entry), etag_of(entry))

    def list_folders(self, prefix: str) -> list[str]:
        entries = self._entries(folder_prefix(prefix))
        folders = [entry["name"] for entry in entries if entry["type"] == "directory"]
        return sorted(name.rstrip("/").rpartition("/")[2] for name in folders)

    def write(self, key: str, data: Buffer) -> None:
        with translating("write", self, key):
            self.fs.pipe_file(self.path_of(key), bytes(data))

    def create(self, key: str, data: bytes) -> None:
        with translating("create", self, key):
            self.fs.pipe_file(self.path_of(key), data, mode="create")

    def upload(self, key: str, n_bytes: int) -> Upload:
        return FsspecUpload(self, key, n_bytes)

    def copy(self, source: str, target: str) -> None:
        with translating("copy", self, source):
            self.fs.cp_file(self.path_of(source), self.path_of(target))

    def delete(self, keys: Iterable[str]) -> None:
        remaining = iter(keys)
        while page := list(islice(remaining, _DELETE_PAGE)):
            run_all(self._delete_one, page, n_threads=self.n_threads)

    def _here(self) -> tuple[Any, str]:
        """Return the filesystem of this process and the root's path on it."""
        here = self._opened.get(os.getpid())
        if here is None:
            with translating("open", self, ""):
                here = self._opened.setdefault(os.getpid(), self._open())
        return here

    def _open(self) -> tuple[Any, str]:
        import fsspec.core

        fresh: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
        fs, path = fsspec.core.url_to_fs(self._full_url, **fresh, **self._client_options())
        return fs, str(path)

    def _client_options(self) -> dict[str, object]:
        """Return the filesystem's options as they are for this machine."""
        return self._options

    def _fetch(self, key: str) -> Any:
        try:
            return self.fs.cat_file(self.path_of(key))
        except Exception as error:
            if not Failure.of(error).is_damaged:
                raise
            return self.fs.cat_file(self.path_of(key))

    def _fetch_range(self, key: str, start: int, length: int) -> Any:
        try:
            return self.fs.cat_file(self.path_of(key), start=start, end=start + length)
        except Exception as error:
            # A range behind the end is an error for some and empty for others.
            if Failure.of(error).is_out_of_range:
                return b""
            raise translated(error, what="read", store=self, key=key) from error

    def _entries(self, folder: str) -> Sequence[Mapping[str, Any]]:
        with translating("list", self, folder):
            path = self.path_of(folder).rstrip("/")
            try:
                entries = self.fs.ls(path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        # Some stores list an empty object as a mark of the folder itself.
        return [entry for entry in entries if entry["name"].strip("/") != path.strip("/")]

    def _delete_one(self, key: str) -> None:
        with translating("delete", self, key):
            try:
                self.fs.rm_file(self.path_of(key))
            except FileNotFoundError:
                return


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
        assert offset == self._sent, f"a piece for byte {offset}, not {self._sent}"
        whole: Buffer = joined(data)
        with translating("write", self._store, self._key):
            if self._file is None:
                path = self._store.path_of(self._key)
                self._file = self._store.fs.open(path, "wb", block_size=self.piece_bytes)
            self._file.write(whole)
        self._sent += memoryview(whole).nbytes

    def complete(self) -> None:
        assert self._sent == self.n_bytes, f"{self._sent} of {self.n_bytes} bytes were sent"
        if self._file is None:
            self._store.write(self._key, b"")
            return
        with translating("write", self._store, self._key):
            self._file.close()
        self._file = None

    def abort(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        # The error that led here matters more, and stores drop an upload that nobody ends.
        with suppress(Exception):
            file.discard()
        # Its finaliser would otherwise close it, and so show what must not be seen.
        file.closed = True


class GenericStore(FsspecStore):
    """Any other filesystem: what is written goes to a hidden name first, then to its own."""

    def __init__(self, url: str, options: Mapping[str, object]) -> None:
        super().__init__(url, options)
        _check_known(self.kind)

    def write(self, key: str, data: Buffer) -> None:
        with self.upload(key, memoryview(data).nbytes) as upload:
            upload.piece(0, 0, data)
            upload.complete()

    def create(self, key: str, data: bytes) -> None:
        with translating("create", self, key):
            self.make_folder(key)
        super().create(key, data)

    def upload(self, key: str, n_bytes: int) -> Upload:
        if self.kind in _OBJECT_STORES:
            return super().upload(key, n_bytes)
        return HiddenUpload(self, key, n_bytes)

    def copy(self, source: str, target: str) -> None:
        with translating("copy", self, source):
            self.make_folder(target)
        super().copy(source, target)

    def make_folder(self, key: str) -> None:
        """Make the folder that an object needs."""
        if self.kind not in _OBJECT_STORES:
            self.fs.makedirs(self.path_of(key).rpartition("/")[0], exist_ok=True)

    def _entries(self, folder: str) -> Sequence[Mapping[str, Any]]:
        return [
            entry
            for entry in super()._entries(folder)
            if not entry["name"].rpartition("/")[2].startswith(TEMPORARY)
        ]


class HiddenUpload(FsspecUpload):
    """Writes under a hidden name beside the target; one move shows the object."""

    def __init__(self, store: GenericStore, key: str, n_bytes: int) -> None:
        folder, slash, _ = key.rpartition("/")
        hidden = f"{folder}{slash}{TEMPORARY}{os.urandom(16).hex()}"
        super().__init__(store, hidden, n_bytes)
        self._target = key
        with translating("write", store, key):
            store.make_folder(key)

    def complete(self) -> None:
        if self._file is None and self.n_bytes == 0:
            self.piece(0, 0, b"")
        super().complete()
        fs, hidden = self._store.fs, self._store.path_of(self._key)
        target = self._store.path_of(self._target)
        with translating("write", self._store, self._target):
            # Not every filesystem moves a file over another.
            if fs.exists(target):
                fs.rm_file(target)
            fs.mv(hidden, target)

    def abort(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()  # nobody sees what it writes
            self._store.delete([self._key])


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


def etag_of(info: Mapping[str, Any]) -> str:
    """Return what a filesystem says of an object that is another once its bytes are."""
    known = (info.get(name) for name in ("ETag", "etag", "e_tag", "sha256", "sha", "md5"))
    return next((bare_etag(text) for text in known if isinstance(text, str)), "")


def _shown(url: str) -> tuple[str, str, str]:
    """Return a URL without user and password, its scheme, and its bucket or host."""
    if "::" in url:
        return url, url.partition("::")[0], ""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        hint = "Write a path, or a URL such as s3://bucket/prefix."
        raise InvalidInputError(f"Not a URL ({error})", subject=url, hint=hint) from error
    # In abfs://container@account the part before the @ is no secret.
    place = parts.netloc if parts.scheme.startswith("abfs") else parts.netloc.rpartition("@")[2]
    shown = f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
    return shown, parts.scheme, place.partition("@")[0]


def _check_known(scheme: str) -> None:
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise missing_package(scheme, error) from error
    except ValueError as error:
        hint = "Write a path, or a URL such as s3://bucket/prefix."
        raise InvalidInputError("Unknown kind of store", subject=scheme, hint=hint) from error
