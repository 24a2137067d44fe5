"""The requests of a multipart upload over plain connections, signed here.

The same bytes cost s3fs six times the CPU, which it spends on copies and on a second SHA-256, and
it takes a second to load. What is not plain, or goes wrong on this way, is left to it.
"""

from __future__ import annotations

import base64
import http.client
import os
import queue
import re
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from html import unescape
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from prefect_datasets.core.checksum import crc32_of
from prefect_datasets.core.store.s3_sign import Keys, quoted_path, quoted_query, signed_headers

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SECONDS = 300


class _Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class PlainS3:
    """Sends the requests of uploads to one bucket; its methods return None where one fails.

    Args:
        endpoint: Address of the server.
        region: The bucket's region.
        bucket: The bucket.
        keys: Gives the keys to sign with.
        with_checksums: Whether pieces carry a crc32 that the server compares.
    """

    def __init__(
        self,
        endpoint: str,
        region: str,
        bucket: str,
        *,
        keys: Callable[[], Keys],
        with_checksums: bool,
    ) -> None:
        address = urlsplit(endpoint)
        self._scheme, self._host = address.scheme, address.netloc
        self._root = f"{address.path.rstrip('/')}/{bucket}/"
        self._region = region
        self._keys = keys
        self._with_checksums = with_checksums
        self._is_usable = not _has_proxy(address.scheme, address.hostname or "")
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()

    def begin(self, name: str) -> str | None:
        """Begin an upload; return its id."""
        headers = {"x-amz-checksum-algorithm": "CRC32"} if self._with_checksums else {}
        reply = self._request("POST", name, {"uploads": ""}, headers, b"")
        found = reply and re.search(rb"<UploadId>([^<]+)</UploadId>", reply.body)
        return unescape(found[1].decode()) if found else None

    def send(self, name: str, upload: str, number: int, data: Buffer) -> dict[str, str] | None:
        """Send a piece; return what completion needs of it."""
        headers = dict[str, str]()
        if self._with_checksums:
            crc32 = crc32_of(data, 0).to_bytes(4, "big")
            headers["x-amz-checksum-crc32"] = base64.b64encode(crc32).decode()
        where = {"partNumber": str(number), "uploadId": upload}
        reply = self._request("PUT", name, where, headers, data)
        if reply is None or not (etag := reply.headers["ETag"]):
            return None
        stored = reply.headers["x-amz-checksum-crc32"]
        return {"ETag": etag, "ChecksumCRC32": stored} if stored else {"ETag": etag}

    def complete(self, name: str, upload: str, parts: list[dict[str, str]]) -> bool | None:
        """Show the object, made of all parts; each names its number and what `send` returned."""
        named = "".join(
            "<Part>" + "".join(f"<{key}>{text}</{key}>" for key, text in part.items()) + "</Part>"
            for part in parts
        ).replace('"', "&quot;")
        space = "http://s3.amazonaws.com/doc/2006-03-01/"
        body = f'<CompleteMultipartUpload xmlns="{space}">{named}</CompleteMultipartUpload>'
        reply = self._request("POST", name, {"uploadId": upload}, {}, body.encode())
        # An error can come with the status of success: Amazon sends the status first.
        return True if reply and b"<CompleteMultipartUploadResult" in reply.body else None

    def abort(self, name: str, upload: str) -> bool | None:
        """Drop an upload."""
        return self._request("DELETE", name, {"uploadId": upload}, {}, b"") and True

    def close(self) -> None:
        """Close the connections."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _request(
        self,
        method: str,
        name: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Buffer,
    ) -> _Reply | None:
        if not self._is_usable:
            return None
        connection, is_new = self._connection()
        try:
            reply = self._exchange(connection, method, name, query, headers, body)
        except (OSError, http.client.HTTPException):
            connection.close()
            # The server may hang up on a connection that was idle; not on a new one.
            again = not is_new
            return self._request(method, name, query, headers, body) if again else None
        self._idle.put(connection)
        is_fine = reply.status in (HTTPStatus.OK, HTTPStatus.NO_CONTENT)
        return reply if is_fine else None

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        name: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Buffer,
    ) -> _Reply:
        path, asked = quoted_path(self._root + name), quoted_query(query)
        signed = signed_headers(
            method, self._host, path, asked, headers, keys=self._keys(), region=self._region
        )
        connection.request(method, f"{path}?{asked}", body, signed)
        with connection.getresponse() as reply:
            return _Reply(reply.status, reply.headers, reply.read())

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        try:
            return self._idle.get_nowait(), False
        except queue.Empty:
            pass
        if self._scheme == "https":
            context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
            return http.client.HTTPSConnection(self._host, timeout=_SECONDS, context=context), True
        return http.client.HTTPConnection(self._host, timeout=_SECONDS), True


def _has_proxy(scheme: str, host: str) -> bool:
    return scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)
