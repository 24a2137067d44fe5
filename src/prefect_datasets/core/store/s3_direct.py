"""Reading from S3 without a copy: a plain connection fills the caller's buffer.

Obstore collects a reply in pieces and joins them: two to three times the CPU for the same bytes.
It still does all that is not plain: whatever goes wrong here is read again by it, with its retries,
and told by its errors.
"""

from __future__ import annotations

import http.client
import os
import ssl
import time
import urllib.request
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
        self._connection: http.client.HTTPConnection | None = None
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
                return self._fill(address, start, buffer)
            except (OSError, http.client.HTTPException):
                self.close()
                if not was_idle:  # the server may hang up on one that was; not on a new one
                    break
        return False

    def _fill(self, address: SplitResult, start: int, buffer: memoryview) -> bool:
        connection = self._connected(address)
        wanted = {"Range": f"bytes={start}-{start + len(buffer) - 1}"}
        connection.request("GET", f"{address.path}?{address.query}", headers=wanted)
        with connection.getresponse() as reply:
            if reply.status != http.HTTPStatus.PARTIAL_CONTENT or reply.length != len(buffer):
                return False
            done = 0
            while done < len(buffer) and (got := reply.readinto(buffer[done:])):
                done += got
            return done == len(buffer)

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

    def _connected(self, address: SplitResult) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = _connection(address)
        return self._connection


def _connection(address: SplitResult) -> http.client.HTTPConnection:
    if address.scheme == "https":
        context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
        return http.client.HTTPSConnection(
            address.netloc, timeout=READ_TIMEOUT_SECONDS, context=context
        )
    return http.client.HTTPConnection(address.netloc, timeout=READ_TIMEOUT_SECONDS)


def _has_proxy(address: SplitResult) -> bool:
    host = address.hostname or ""
    return address.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)
