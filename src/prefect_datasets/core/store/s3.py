"""S3 and what speaks like it: obstore where the options allow, s3fs for everything else."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.store.base import (
    ObjectInfo,
    Range,
    Reader,
    Store,
    Upload,
    folder_prefix,
    too_short,
)
from prefect_datasets.core.store.s3_obstore import FastS3, open_fast, usable_here
from prefect_datasets.core.store.s3_options import FastPlan, plan_fast
from prefect_datasets.core.store.s3_s3fs import S3fsS3
from prefect_datasets.core.store.transfers import READING, run_all
from prefect_datasets.core.store.translate import Failure, translated, translating

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from prefect_datasets.core.store.s3_plain import PlainS3

# Keys that obstore refuses or changes: empty, `.` and `..` segments, controls, a `/` at either end.
_ODD = re.compile(r"(^|/)(\.{0,2})(/|$)|[\x00-\x1f\x7f]")
# What obstore says of a key that it does not take, and of a page that broke off: it asks again for
# everything else.
_OBSTORE_CAN_NOT = ("invalid path", "list response body")
_DELETE_PAGE = 1000
_CONFLICT_TRIES = 3
_SIGNED_SECONDS = 3600
# A call of obstore's has ten requests in flight: several are made at once, and one is worth it
# from so many ranges on.
_LEAST_RANGES, _RANGES_PER_CALL = 16, 64
_MAX_COPY_BYTES = 5 << 30  # more than this no request of S3's copies

_Data = TypeVar("_Data", bound=Sized)


class S3Store(Store):
    """Objects below a prefix of one bucket.

    The option `fast=False` leaves everything to s3fs.
    """

    def __init__(self, bucket: str, prefix: str, options: Mapping[str, object]) -> None:
        root = f"{bucket}/{prefix}".rstrip("/")
        super().__init__(f"s3://{root}", options, kind="s3", bucket=bucket)
        self._prefix = folder_prefix(prefix)
        given: dict[str, Any] = {name: value for name, value in options.items() if name != "fast"}
        self._plan = plan_fast(bucket, given) if options.get("fast", True) else None
        self._fast: FastS3 | None = None
        self._lock = threading.Lock()
        self.s3fs = S3fsS3(bucket, given)

    @property
    def endpoint(self) -> str:
        client: Any = self._options.get("client_kwargs") or {}
        known = self._fast.endpoint if self._fast else ""
        return known or str(self._options.get("endpoint_url") or client.get("endpoint_url") or "")

    @property
    def is_fast(self) -> bool:
        """Whether obstore does the reading and writing."""
        return self._fast_client() is not None

    def name_of(self, key: str) -> str:
        """Return the bucket's name for the object at `key`."""
        return self._prefix + key

    def read(self, key: str) -> bytes:
        with translating("read", self, key):
            return bytes(_again_if_damaged(lambda: self._client(key).read(self.name_of(key))))

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        if length == 0:
            return memoryview(b"")
        client, name = self._client(key), self.name_of(key)
        try:
            data = _again_if_damaged(lambda: client.read_range(name, start, length), length)
        except Exception as error:
            if Failure.of(error).is_out_of_range:
                raise too_short(self.url_of(key), start, length, 0) from error
            raise translated(error, what="read", store=self, key=key) from error
        if len(data) != length:
            raise too_short(self.url_of(key), start, length, len(data))
        return memoryview(data)

    def read_many(self, ranges: Sequence[Range]) -> list[memoryview]:
        keys = {wanted.key for wanted in ranges}
        if len(ranges) < _LEAST_RANGES or len(keys) > 1:
            return super().read_many(ranges)
        calls = max(4, -(-len(ranges) // _RANGES_PER_CALL))
        step = -(-len(ranges) // calls)
        chunks = [ranges[first : first + step] for first in range(0, len(ranges), step)]
        found = run_all(self._read_ranges, chunks)
        return [data for chunk in found for data in chunk]

    def _read_ranges(self, ranges: Sequence[Range]) -> list[memoryview]:
        """Return ranges of one object with one call, or one by one where that fails."""
        key = ranges[0].key
        client = self._client(key)
        if isinstance(client, FastS3) and all(wanted.length for wanted in ranges):
            starts = [wanted.start for wanted in ranges]
            lengths = [wanted.length for wanted in ranges]
            with suppress(Exception):  # the reads that follow tell which it was, and try again
                found = client.read_ranges(self.name_of(key), starts, lengths)
                if [len(data) for data in found] == lengths:
                    return [memoryview(data) for data in found]
        return [self.read_range(*wanted) for wanted in ranges]

    def read_with_info(self, wanted: Range) -> tuple[memoryview, ObjectInfo]:
        key, start, length = wanted
        client, name = self._client(key), self.name_of(key)
        if not isinstance(client, FastS3):
            return super().read_with_info(wanted)
        try:
            data, found = _again_if_damaged(lambda: client.read_with_info(name, start, length))
        except Exception as error:
            if Failure.of(error).is_out_of_range:
                raise too_short(self.url_of(key), start, length, 0) from error
            raise translated(error, what="read", store=self, key=key) from error
        if len(data) < length:
            raise too_short(self.url_of(key), start, length, len(data))
        return data[:length], ObjectInfo(key, found.n_bytes, found.modified, found.etag)

    def reader(self) -> Reader:
        if self._fast_client() is None or not self._may_send_directly():
            return Reader(self)
        from prefect_datasets.core.store.s3_direct import S3Reader  # noqa: PLC0415 - see upload

        return S3Reader(self, self._presigned)

    def _presigned(self, key: str) -> str | None:
        """Return an address to read an object at, or None where there is none."""
        client, name = self._client(key), self.name_of(key)
        if not isinstance(client, FastS3):
            return None
        with suppress(Exception):  # reading without it will tell
            return client.presigned(name, _SIGNED_SECONDS)
        return None

    def info(self, key: str) -> ObjectInfo | None:
        with translating("look at", self, key):
            found = self._client(key).info(self.name_of(key))
        return found and ObjectInfo(key, found.n_bytes, found.modified, found.etag)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with translating("list", self, prefix):
            for found in self._listed(self._prefix + folder_prefix(prefix)):
                if not found.key.endswith("/"):
                    key = found.key.removeprefix(self._prefix)
                    yield ObjectInfo(key, found.n_bytes, found.modified, found.etag)

    def list_folders(self, prefix: str) -> list[str]:
        with translating("list", self, prefix):
            folders = self._client().list_folders(self._prefix + folder_prefix(prefix))
        names = {folder.rstrip("/").rpartition("/")[2] for folder in folders}
        return sorted(names - {""})

    def write(self, key: str, data: Buffer) -> None:
        with translating("write", self, key):
            self._client(key).write(self.name_of(key), data)

    def create(self, key: str, data: bytes) -> None:
        client, name = self._client(key), self.name_of(key)
        for left in reversed(range(_CONFLICT_TRIES)):
            try:
                return client.create(name, data)
            except Exception as error:
                # Amazon's way to say that another request was under way, not that it won.
                if left and Failure.of(error).code == "ConditionalRequestConflict":
                    time.sleep(0.2)
                    continue
                raise translated(error, what="create", store=self, key=key) from error
        return None

    def upload(self, key: str, n_bytes: int) -> Upload:
        # With it come http.client and ssl, which a reader has no use for.
        from prefect_datasets.core.store.s3_upload import S3Upload  # noqa: PLC0415

        return S3Upload(self, key, n_bytes, plain=self._plain_client(key))

    def copy(self, source: str, target: str) -> None:
        found = self.info(source)
        if found is not None and found.n_bytes > _MAX_COPY_BYTES:
            self._copy_in_pieces(source, target, found.n_bytes)
            return
        with translating("copy", self, source):
            self._client(source, target).copy(self.name_of(source), self.name_of(target))

    def delete(self, keys: Iterable[str]) -> None:
        remaining = iter(keys)
        while page := list(islice(remaining, _DELETE_PAGE)):
            with translating("delete", self, page[0]):
                self._client(*page).delete([self.name_of(key) for key in page])

    def abort_stale_uploads(self, older_than_seconds: float) -> int:
        limit = time.time() - older_than_seconds
        with translating("list uploads of", self, ""):
            found = list(self._open_uploads())
            stale = [one for one in found if one["Initiated"].timestamp() < limit]
            for one in stale:
                self.s3fs.call("abort_multipart_upload", Key=one["Key"], UploadId=one["UploadId"])
        return len(stale)

    def _listed(self, root: str) -> Iterator[ObjectInfo]:
        """Yield what is below `root`; obstore goes as far as it can, s3fs from there on."""
        last, fast, is_whole = "", self._fast_client(), True
        empty: list[ObjectInfo] = []
        try:
            for found in fast.list(root) if fast else ():
                last = found.key
                if found.n_bytes:
                    yield found
                else:
                    empty.append(found)
        except Exception as error:
            if not any(words in str(error) for words in _OBSTORE_CAN_NOT):
                raise
            is_whole = False
        if fast is not None:
            yield from _without_marks(fast, empty)
        if fast is None or not is_whole:
            yield from self.s3fs.list(root, start_after=last)

    def _open_uploads(self) -> Iterator[dict[str, Any]]:
        marker: dict[str, str] = {}
        while True:
            page = self.s3fs.call("list_multipart_uploads", Prefix=self._prefix, **marker)
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated") or not page.get("NextKeyMarker"):
                return
            marker = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page.get("NextUploadIdMarker", ""),
            }

    def _copy_in_pieces(self, source: str, target: str, n_bytes: int) -> None:
        with self.upload(target, n_bytes) as upload:
            step = 1 << 30
            for index, start in enumerate(range(0, n_bytes, step)):
                wanted = Range(source, start, min(step, n_bytes - start))
                upload.copy(index, start, wanted)
            upload.complete()

    def _client(self, *keys: str) -> FastS3 | S3fsS3:
        """Return the client for objects of these keys."""
        if any(_ODD.search(key) for key in keys):
            return self.s3fs
        return self._fast_client() or self.s3fs

    def _fast_client(self) -> FastS3 | None:
        if self._plan is None or not usable_here():
            return None
        if self._fast is None:
            with self._lock, translating("open", self, ""):
                self._fast = self._fast or self._open_fast(self._plan)
        return self._fast

    def _plain_client(self, key: str) -> PlainS3 | None:
        """Return what sends the requests of an upload plainly, where that is possible."""
        client = self._client(key)
        if not isinstance(client, FastS3) or not self._may_send_directly():
            return None
        from prefect_datasets.core.store.s3_plain import PlainS3  # noqa: PLC0415 - see upload

        return PlainS3(
            client.endpoint,
            client.region,
            self.bucket,
            keys=client.keys,
            with_checksums=self.s3fs.wants_checksums,
        )

    def _open_fast(self, plan: FastPlan) -> FastS3 | None:
        fast = open_fast(self.bucket, plan)
        if fast is None:
            self._plan = None  # obstore refuses a setting: s3fs does all
        return fast

    def _may_send_directly(self) -> bool:
        """Whether plain requests will do: not where they must be special."""
        plan = self._plan
        return plan is not None and not plan.anonymous and not plan.config and plan.verify is True


def _without_marks(fast: FastS3, empty: Sequence[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Yield empty objects; the mark of a folder, an object `folder/`, is listed without its `/`."""
    there = run_all(lambda found: fast.info(found.key) is not None, empty, pool=READING)
    yield from (found for found, is_there in zip(empty, there, strict=True) if is_there)


def _again_if_damaged(read: Callable[[], _Data], length: int | None = None) -> _Data:
    """Read once more if bytes were damaged or lost on the way."""
    try:
        data = read()
    except DatasetError:
        raise
    except Exception as error:
        if not Failure.of(error).is_damaged:
            raise
        return read()
    if length is not None and len(data) != length:
        return read()
    return data
