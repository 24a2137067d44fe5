"""Multipart uploads to S3: pieces in any order, from any thread, or copied inside the store.

Requests go over plain connections where the options allow it. What goes wrong on that way is done
again by s3fs, with its retries.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.errors import DatasetError, NotFoundError, StoreError
from prefect_datasets.core.store.base import Range, Upload, joined, too_short
from prefect_datasets.core.store.translate import Failure, translated, translating

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from prefect_datasets.core.store.s3 import S3Store
    from prefect_datasets.core.store.s3_plain import PlainS3

MIN_PIECE_BYTES = 5 << 20  # S3 refuses smaller ones, the last excepted
PIECE_BYTES = 16 << 20
MAX_PIECES = 9_500  # S3 allows 10,000


def piece_bytes_for(n_bytes: int) -> int:
    """Return the size of pieces for an object of `n_bytes`: whole MiB, few enough pieces."""
    mebibytes = math.ceil(n_bytes / MAX_PIECES / (1 << 20))
    return max(PIECE_BYTES, mebibytes << 20)


class S3Upload(Upload):
    """One multipart upload; an object that comes as one piece is written with one request."""

    min_piece_bytes = MIN_PIECE_BYTES
    can_copy = True

    def __init__(self, store: S3Store, key: str, n_bytes: int, *, plain: PlainS3 | None) -> None:
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
        self._plain = plain

    def piece(self, index: int, offset: int, data: Buffer | Sequence[Buffer]) -> None:
        del offset
        whole: Buffer = joined(data)
        n_bytes = memoryview(whole).nbytes
        if n_bytes == self.n_bytes <= PIECE_BYTES:
            self._whole = whole if isinstance(data, list | tuple) else bytes(whole)
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
        try:
            with translating("write", self._store, self._key):
                self._complete()
        except (StoreError, NotFoundError):
            if not self._is_there():
                raise
        self._close()

    def abort(self) -> None:
        upload, self._id, self._whole = self._id, "", None
        if upload:
            # The error that led here matters more, and garbage collection ends what is left.
            with suppress(Exception):
                if not (self._plain and self._plain.abort(self._name, upload)):
                    self._call("abort_multipart_upload", UploadId=upload)
        self._close()

    def _begun(self) -> str:
        """Return the upload's id; the first piece begins it."""
        with self._lock:
            if not self._id:
                begun = self._plain and self._plain.begin(self._name)
                self._id = begun or self._call("create_multipart_upload")["UploadId"]
            return self._id

    def _complete(self) -> None:
        numbers = sorted(self._parts)
        if self._plain:
            texts = [{"PartNumber": str(n + 1), **self._parts[n]} for n in numbers]
            if self._plain.complete(self._name, self._id, texts):
                return
        parts = [{"PartNumber": n + 1, **self._parts[n]} for n in numbers]
        self._call("complete_multipart_upload", UploadId=self._id, MultipartUpload={"Parts": parts})

    def _send(self, index: int, data: Buffer) -> dict[str, Any]:
        upload = self._begun()
        if self._plain and (part := self._plain.send(self._name, upload, index + 1, data)):
            return part
        return _part(
            self._call("upload_part", UploadId=upload, PartNumber=index + 1, Body=bytes(data))
        )

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
        if self._plain:
            self._plain.close()


def _part(reply: dict[str, Any]) -> dict[str, Any]:
    """Return what a completion must name of a piece: its ETag and whatever checksums it has."""
    return {
        name: value
        for name, value in reply.items()
        if name == "ETag" or (name.startswith("Checksum") and name != "ChecksumType")
    }
