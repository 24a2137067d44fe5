"""Multipart uploads to S3: pieces in any order, from any thread, or copied inside the store.

The bodies of pieces go over plain connections to presigned addresses: the same bytes cost s3fs six
times the CPU, which it spends on copies and on a second SHA-256. Whatever goes wrong on that way,
the piece is sent again by s3fs, with its retries.
"""

# ruff: noqa: PLC0415 - clients are slow to load, and only some stores need them

from __future__ import annotations

import base64
import http.client
import math
import os
import queue
import ssl
import threading
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prefect_datasets.core.errors import DatasetError, NotFoundError, StoreError
from prefect_datasets.core.store.base import Range, Upload, joined, too_short
from prefect_datasets.core.store.translate import Failure, translated, translating

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from prefect_datasets.core.store.s3 import S3Store

MIN_PIECE_BYTES = 5 << 20  # S3 refuses smaller ones, the last excepted
PIECE_BYTES = 16 << 20
MAX_PIECES = 9_500  # S3 allows 10,000
_SEND_SECONDS = 300


def piece_bytes_for(n_bytes: int) -> int:
    """Return the size of pieces for an object of `n_bytes`: whole MiB, few enough pieces."""
    mebibytes = math.ceil(n_bytes / MAX_PIECES / (1 << 20))
    return max(PIECE_BYTES, mebibytes << 20)


class S3Upload(Upload):
    """One multipart upload; an object that comes as one piece is written with one request."""

    min_piece_bytes = MIN_PIECE_BYTES
    can_copy = True

    def __init__(self, store: S3Store, key: str, n_bytes: int, *, direct: bool) -> None:
        super().__init__(n_bytes)
        self.piece_bytes = piece_bytes_for(n_bytes)
        self._store = store
        self._key = key
        self._name = store.name_of(key)
        self._lock = threading.Lock()
        self._id = ""
        self._whole: Buffer | None = b"" if n_bytes == 0 else None
        self._parts: dict[int, dict[str, Any]] = {}
        self._sent = 0
        self._sender = DirectSender(store) if direct else None

    def piece(self, index: int, offset: int, data: Buffer | Sequence[Buffer]) -> None:
        del offset
        whole: Buffer = joined(data)
        n_bytes = memoryview(whole).nbytes
        if n_bytes == self.n_bytes <= PIECE_BYTES:
            self._whole = whole
            return
        with translating("write", self._store, self._key):
            self._note(index, n_bytes, self._send(index, whole))

    def copy(self, index: int, offset: int, source: Range) -> None:
        del offset
        last = source.start + source.length - 1
        with translating("write", self._store, self._key):
            upload = self._begun()
        try:
            reply = self._call(
                "upload_part_copy",
                UploadId=upload,
                PartNumber=index + 1,
                CopySource={"Bucket": self._store.bucket, "Key": self._store.name_of(source.key)},
                CopySourceRange=f"bytes={source.start}-{last}",
            )
        except Exception as error:
            raise self._copy_error(error, source) from error
        self._note(index, source.length, _part(reply["CopyPartResult"]))

    def complete(self) -> None:
        if self._whole is not None:
            self._store.write(self._key, self._whole)
            return
        assert self._sent == self.n_bytes, f"{self._sent} of {self.n_bytes} bytes were sent"
        parts = [{"PartNumber": n + 1, **self._parts[n]} for n in sorted(self._parts)]
        try:
            with translating("write", self._store, self._key):
                self._call(
                    "complete_multipart_upload",
                    UploadId=self._id,
                    MultipartUpload={"Parts": parts},
                )
        except (StoreError, NotFoundError):
            if not self._is_there():
                raise
        self._close()

    def abort(self) -> None:
        upload, self._id, self._whole = self._id, "", None
        self._close()
        if upload:
            # The error that led here matters more, and garbage collection ends what is left.
            with suppress(Exception):
                self._call("abort_multipart_upload", UploadId=upload)

    def _begun(self) -> str:
        """Return the upload's id; the first piece begins it."""
        with self._lock:
            if not self._id:
                self._id = self._call("create_multipart_upload")["UploadId"]
            return self._id

    def _send(self, index: int, data: Buffer) -> dict[str, Any]:
        upload = self._begun()
        where = {"UploadId": upload, "PartNumber": index + 1}
        if self._sender and (part := self._sender.send(self._name, where, data)):
            return part
        return _part(self._call("upload_part", Body=bytes(data), **where))

    def _note(self, index: int, n_bytes: int, part: dict[str, Any]) -> None:
        with self._lock:
            self._parts[index] = part
            self._sent += n_bytes

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._store.s3fs.call(method, Key=self._name, **arguments)

    def _copy_error(self, error: Exception, source: Range) -> DatasetError:
        failure = Failure.of(error)
        url = self._store.url_of(source.key)
        if failure.is_out_of_range or failure.code == "InvalidArgument":
            found = self._store.info(source.key)
            if found and found.n_bytes < source.start + source.length:
                got = max(0, found.n_bytes - source.start)
                return too_short(url, source.start, source.length, got)
        return translated(error, what="copy", store=self._store, key=source.key)

    def _is_there(self) -> bool:
        """Tell whether a completion that seemed to fail has done its work: the reply was lost."""
        try:
            found = self._store.s3fs.call("head_object", Key=self._name)
        except Exception:  # noqa: BLE001 - the error of the completion is the one to tell
            return False
        is_ours = found["ETag"].strip('"').endswith(f"-{len(self._parts)}")
        return is_ours and found["ContentLength"] == self.n_bytes

    def _close(self) -> None:
        if self._sender:
            self._sender.close()


class DirectSender:
    """Sends pieces to presigned addresses over connections of its own; never raises."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()

    def send(self, name: str, where: dict[str, Any], data: Buffer) -> dict[str, Any] | None:
        """Send one piece; return what completion needs of it, or None if it didn't arrive."""
        crc32, headers = "", dict[str, str]()
        if self._store.s3fs.wants_checksums:
            crc32 = _crc32(data)
            headers["x-amz-checksum-crc32"] = crc32
            where = {**where, "ChecksumCRC32": crc32}
        address = urlsplit(self._store.s3fs.presigned("upload_part", Key=name, **where))
        if _has_proxy(address.scheme, address.hostname or ""):
            return None
        connection = self._connection(address.scheme, address.netloc)
        try:
            connection.request("PUT", f"{address.path}?{address.query}", data, headers)
            reply = connection.getresponse()
            reply.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return None
        self._idle.put(connection)
        if reply.status != http.HTTPStatus.OK or not (etag := reply.getheader("ETag")):
            return None
        stored = reply.getheader("x-amz-checksum-crc32")
        return {"ETag": etag, "ChecksumCRC32": stored} if stored else {"ETag": etag}

    def close(self) -> None:
        """Close the connections."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _connection(self, scheme: str, address: str) -> http.client.HTTPConnection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            pass
        if scheme == "https":
            context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
            return http.client.HTTPSConnection(address, timeout=_SEND_SECONDS, context=context)
        return http.client.HTTPConnection(address, timeout=_SEND_SECONDS)


def _part(reply: dict[str, Any]) -> dict[str, Any]:
    """Return what a completion must name of a piece: its ETag and whatever checksums it has."""
    return {
        name: value
        for name, value in reply.items()
        if name == "ETag" or (name.startswith("Checksum") and name != "ChecksumType")
    }


def _crc32(data: Buffer) -> str:
    from isal import isal_zlib

    crc32: int = isal_zlib.crc32(data)  # pyright: ignore[reportUnknownMemberType]
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


def _has_proxy(scheme: str, host: str) -> bool:
    return scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)
