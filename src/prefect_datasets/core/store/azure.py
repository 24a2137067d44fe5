"""Azure Blob Storage, through adlfs and the client below it."""

# ruff: noqa: PLC0415 - clients are slow to load, and only some stores need them

from __future__ import annotations

import base64
import io
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.store.base import (
    ObjectInfo,
    Upload,
    bare_etag,
    folder_prefix,
    joined,
)
from prefect_datasets.core.store.fsspec_store import PIECE_BYTES, FsspecStore
from prefect_datasets.core.store.translate import translating

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MAX_BLOCKS = 45_000  # Azure allows 50,000
_LIST_PAGE = 1000
_ONE_PUT_BYTES = 1 << 20  # aiohttp warns of larger bodies that are plain bytes


class AzureStore(FsspecStore):
    """Blobs below a prefix of one container."""

    def info(self, key: str) -> ObjectInfo | None:
        with translating("look at", self, key):
            try:
                found = self.run(lambda: self.blob(key).get_blob_properties())
            except Exception as error:
                if getattr(error, "status_code", 0) == 404:  # a HEAD reply says no more
                    return None
                raise
        return _info(key, found)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        root = self._names("")[1]
        container, folder = self._container(prefix)
        pages = container.list_blobs(
            name_starts_with=folder or None, results_per_page=_LIST_PAGE
        ).by_page()
        for page in self._walk(pages, prefix):
            for blob in page:
                if not blob.name.endswith("/"):
                    key = blob.name.removeprefix(root)
                    yield _info(key, blob)

    def list_folders(self, prefix: str) -> list[str]:
        container, folder = self._container(prefix)
        pages = container.walk_blobs(name_starts_with=folder or None, delimiter="/").by_page()
        names = [found.name for page in self._walk(pages, prefix) for found in page]
        return sorted(name.rstrip("/").rpartition("/")[2] for name in names if name.endswith("/"))

    def write(self, key: str, data: Buffer) -> None:
        n_bytes = memoryview(data).nbytes
        if n_bytes > _ONE_PUT_BYTES:
            with self.upload(key, n_bytes) as upload:
                upload.piece(0, 0, data)
                upload.complete()
            return
        body = bytes(data)
        with translating("write", self, key):
            blob = self.blob(key)
            self.run(lambda: blob.upload_blob(body, overwrite=True))

    def upload(self, key: str, n_bytes: int) -> Upload:
        return AzureUpload(self, key, n_bytes)

    def copy(self, source: str, target: str) -> None:
        # A copy made by Azure may still be under way as its reply comes, so the bytes go through
        # here; they are few, because packages are not copied.
        found = self.info(source)
        n_bytes = found.n_bytes if found else len(self.read(source))
        with self.upload(target, n_bytes) as upload:
            step = upload.piece_bytes
            for index, start in enumerate(range(0, n_bytes, step)):
                data = self.read_range(source, start, min(step, n_bytes - start))
                upload.piece(index, start, data)
            upload.complete()

    def blob(self, key: str) -> Any:
        """Return the client of one blob; its calls are coroutines, for `run`."""
        container, name = self._names(key)
        return self.fs.service_client.get_blob_client(container, name)

    def run(self, call: Callable[[], Any]) -> Any:
        """Run a coroutine on the filesystem's loop and return its result."""
        from fsspec.asyn import sync

        async def calling() -> Any:
            return await call()

        return sync(self.fs.loop, calling)

    def _open(self) -> tuple[Any, str]:
        fs, path = super()._open()
        config = getattr(fs.service_client, "_config", None)
        if policy := getattr(config, "retry_policy", None):
            # The client's own first pause is 15 s, and adlfs has no option for it.
            policy.initial_backoff = 1
        return fs, path

    def _container(self, prefix: str) -> tuple[Any, str]:
        container, folder = self._names(folder_prefix(prefix))
        with translating("list", self, prefix):
            return self.fs.service_client.get_container_client(container), folder

    def _walk(self, pages: Any, prefix: str) -> Iterator[Sequence[Any]]:
        """Yield the pages of a listing as they come."""

        async def following() -> Any:
            try:
                return [blob async for blob in await pages.__anext__()]
            except StopAsyncIteration:
                return None

        while True:
            with translating("list", self, prefix):
                page = self.run(following)
            if page is None:
                return
            yield page

    def _names(self, key: str) -> tuple[str, str]:
        """Return the container, and the container's name for `key`."""
        container, _, name = self.path_of(key).partition("/")
        return container, name


class AzureUpload(Upload):
    """Pieces are blocks, which a list of their names shows as one blob.

    Blocks that no list names are dropped by Azure within a week.
    """

    def __init__(self, store: AzureStore, key: str, n_bytes: int) -> None:
        super().__init__(n_bytes)
        mebibytes = math.ceil(n_bytes / _MAX_BLOCKS / (1 << 20))
        self.piece_bytes = max(PIECE_BYTES, mebibytes << 20)
        self._store = store
        self._key = key
        self._lock = threading.Lock()
        self._sent: dict[int, int] = {}

    def piece(self, index: int, offset: int, data: Buffer | Sequence[Buffer]) -> None:
        del offset
        whole = bytes(joined(data))
        body = io.BytesIO(whole)  # see _ONE_PUT_BYTES
        with translating("write", self._store, self._key):
            blob = self._store.blob(self._key)
            self._store.run(lambda: blob.stage_block(_block_id(index), body, len(whole)))
        with self._lock:
            self._sent[index] = len(whole)

    def complete(self) -> None:
        sent = sum(self._sent.values())
        assert sent == self.n_bytes, f"{sent} of {self.n_bytes} bytes were sent"
        with translating("write", self._store, self._key):
            from azure.storage.blob import BlobBlock

            blocks = [BlobBlock(_block_id(index)) for index in sorted(self._sent)]
            self._store.run(lambda: self._store.blob(self._key).commit_block_list(blocks))

    def abort(self) -> None:
        self._sent.clear()


def _block_id(index: int) -> str:
    return base64.b64encode(b"%08d" % index).decode()


def _info(key: str, found: Any) -> ObjectInfo:
    modified, etag = found.last_modified.timestamp(), bare_etag(found.etag)
    return ObjectInfo(key, int(found.size), modified, etag)
