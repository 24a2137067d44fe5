"""Reading from S3 without a copy: a plain connection fills the caller's buffer.

Obstore collects a reply in pieces and joins them: two to three times the CPU for the same bytes.
It still does all that is not plain: whatever goes wrong here is read again by it, with its retries,
and told by its errors.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from prefect_datasets.core.store.base import Reader
from prefect_datasets.core.store.s3_options import READ_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from prefect_datasets.core.store.base import Store

# Half as long as an address holds.
_USED_SECONDS = 1800
# A reader that failed so often leaves it to the store.
_MOST_FAILURES = 3
_MOST_HEAD_BYTES = 1 << 16


class S3Reader(Reader):
    """Reads over one connection of its own.

    Args:
        store: The store, which reads what can't be read here.
        sign: Returns an address for a key, or None.
    """

    def __init__(self, store: Store, sign: Callable[[str], str | None]) -> None:
        super().__init__(store)
        self._sign = sign
        self._addresses: dict[str, tuple[float, SplitResult]] = {}
        self._connection: _Connection | None = None
        self._n_failures = 0

    def read_into(self, key: str, start: int, buffer: memoryview) -> None:
        if not len(buffer):
            return
        if self._n_failures < _MOST_FAILURES:
            if self._try(key, start, buffer):
                return
            self._n_failures += 1
            self.close()
        super().read_into(key, start, buffer)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, key: str, start: int, buffer: memoryview) -> bool:
        address = self._address(key)
        if address is None:
            return False
        for _ in range(2):
            was_idle = self._connection is not None
            try:
                if self._connection is None:
                    self._connection = _Connection(address)
                return self._connection.fill(address, start, buffer)
            except OSError:
                self.close()
                if not was_idle:  # the server may hang up on one that was; not on a new one
                    break
        return False

    def _address(self, key: str) -> SplitResult | None:
        now = time.monotonic()
        made, address = self._addresses.get(key, (0.0, None))
        if address is None or now - made > _USED_SECONDS:
            signed = self._sign(key)
            if signed is None:
                return None
            address = urlsplit(signed)
            if _has_proxy(address):
                return None
            self._addresses = {key: (now, address)}
        return address


class _Connection:
    """As much of HTTP as a range needs, over one socket; what it does not understand is refused.

    `http.client` is two thirds of the interpreter's start to import, and returns to Python for
    each packet or so, where it waits for other threads that extract.
    """

    def __init__(self, address: SplitResult) -> None:
        is_secure = address.scheme == "https"
        place = (address.hostname or "", address.port or (443 if is_secure else 80))
        self._socket = socket.create_connection(place, timeout=READ_TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._flags = 0
        if is_secure:
            self._socket = _secured(self._socket, place[0])
        else:  # the kernel waits for all of it, and for no longer
            self._socket.settimeout(None)
            limit = struct.pack("ll", int(READ_TIMEOUT_SECONDS), 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            self._flags = socket.MSG_WAITALL

    def close(self) -> None:
        self._socket.close()

    def fill(self, address: SplitResult, start: int, buffer: memoryview) -> bool:
        """Read a range into the buffer; False where the reply is another than its bytes.

        Raises:
            OSError: The connection broke.
        """
        request = (
            f"GET {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Range: bytes={start}-{start + len(buffer) - 1}\r\nAccept-Encoding: identity\r\n\r\n"
        )
        self._socket.sendall(request.encode("ascii"))
        head, body = self._head()
        if not _promises(head, start, len(buffer)) or len(body) > len(buffer):
            return False
        done = len(body)
        buffer[:done] = body
        while done < len(buffer):
            got = self._socket.recv_into(buffer[done:], 0, self._flags)
            if not got:
                raise ConnectionError("the server hung up")
            done += got
        return True

    def _head(self) -> tuple[bytes, bytes]:
        """Return the head of the reply, and what came of its body already."""
        found = b""
        while len(found) < _MOST_HEAD_BYTES:
            more = self._socket.recv(_MOST_HEAD_BYTES)
            if not more:
                raise ConnectionError("the server hung up")
            found += more
            head, end, body = found.partition(b"\r\n\r\n")
            if end:
                return head, body
        return b"", b""


def _promises(head: bytes, start: int, n_bytes: int) -> bool:
    """Tell whether a reply is so many bytes of an object from there on, as they are."""
    status, *lines = head.split(b"\r\n")
    if not status.startswith((b"HTTP/1.1 206 ", b"HTTP/1.0 206 ")):
        return False
    pairs = (line.partition(b":") for line in lines)
    fields = {name.strip().lower(): value.strip().lower() for name, _, value in pairs}
    return (
        fields.get(b"content-length") == str(n_bytes).encode()
        and fields.get(b"content-range", b"").startswith(b"bytes %d-" % start)
        and b"transfer-encoding" not in fields
        and fields.get(b"content-encoding", b"identity") == b"identity"
    )


def _secured(plain: socket.socket, host: str) -> socket.socket:
    import ssl  # noqa: PLC0415  as long as half of the interpreter's start

    context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
    return context.wrap_socket(plain, server_hostname=host)


def _has_proxy(address: SplitResult) -> bool:
    names = {name.lower() for name in os.environ}
    if sys.platform == "linux" and f"{address.scheme}_proxy" not in names:
        return False
    import urllib.request  # noqa: PLC0415  likewise

    host = address.hostname or ""
    return address.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)
