"""A proxy before a store that loses, cuts, flips and refuses what a test tells it to.

    with FaultProxy(endpoint) as proxy:
        proxy.fail("PUT", "lost_reply", path="/records/")

Each rule fires `times` times, on the first requests that match; what matches no rule goes through.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

Action = Literal["refuse", "reset", "lost_reply", "truncate", "corrupt", "unconditional", "hold"]

_HELD_SECONDS = 100
_CODES = {500: "InternalError", 501: "NotImplemented", 503: "SlowDown"}


@dataclass
class Rule:
    """What happens to which requests.

    Attributes:
        method: The request's method.
        action: `refuse` answers `status` and the store sees nothing; `reset` breaks the connection
            before the store sees anything; `lost_reply` breaks it after the store has done the
            work; `truncate` breaks it in the middle of the reply's body; `corrupt` flips one bit
            of it; `unconditional` hides from the store that a write must not replace anything;
            `hold` lets the request wait until `released` is set.
        path: A regular expression, searched in path and query.
        times: How often it happens.
        status: What `refuse` answers.
        hits: How often it has happened.
        released: Set by a test that has seen what it holds up.
    """

    method: str
    action: Action
    path: str
    times: int
    status: int
    hits: int = 0
    released: threading.Event = field(default_factory=threading.Event)


class FaultProxy:
    """Listens on a free port while the block runs; `url` is its address.

    With `tls` it speaks TLS to the client and plain HTTP to the store.
    """

    def __init__(self, endpoint: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        proxy, upstream = self, urlsplit(endpoint).netloc

        class Handler(_Handler):
            def rule(self) -> Rule | None:
                return proxy.pick(self.command, self.path)

            def upstream(self) -> str:
                return upstream

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"

    def fail(
        self, method: str, action: Action, *, path: str = "", times: int = 1, status: int = 503
    ) -> Rule:
        """Add a rule, and return it so that a test can look how often it fired."""
        rule = Rule(method, action, path, times, status)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._rules.clear()

    def pick(self, method: str, target: str) -> Rule | None:
        """Return the rule for a request, counted as fired."""
        with self._lock:
            for rule in self._rules:
                matches = rule.method == method and re.search(rule.path, target)
                if matches and rule.hits < rule.times:
                    rule.hits += 1
                    return rule
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def rule(self) -> Rule | None:
        raise NotImplementedError

    def upstream(self) -> str:
        raise NotImplementedError

    def handle_any(self) -> None:
        """Pass one request on and its reply back, with the fault that a rule asks for."""
        body = b"".join(self._body())
        rule = self.rule()
        action = rule.action if rule else ""
        if action == "reset":
            self._break()
            return
        if rule and action == "refuse":
            code = _CODES[rule.status]
            said = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
            self._answer(rule.status, [("Content-Type", "application/xml")], said.encode())
            return
        if rule and action == "hold":
            rule.released.wait(_HELD_SECONDS)
        if action == "unconditional":
            del self.headers["If-None-Match"]
        status, headers, reply = self._forward(body)
        if action == "lost_reply":
            self._break()
        elif action == "corrupt":
            self._answer(status, headers, bytes([reply[0] ^ 1]) + reply[1:])
        elif action == "truncate":
            self._answer(status, headers, reply, n_bytes=len(reply) // 2)
            self._break()
        else:
            self._answer(status, headers, reply)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - http.server's names

    def _body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while n_bytes := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(n_bytes)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.upstream(), timeout=60)
        try:
            skip = {"skip_host": True, "skip_accept_encoding": True}
            connection.putrequest(self.command, self.path, **skip)
            for name, value in self.headers.items():
                if name.lower() not in ("transfer-encoding", "expect", "content-length"):
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            connection.close()

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        n_bytes: int | None = None,
    ) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body[:n_bytes])
        self.wfile.flush()

    def _break(self) -> None:
        """End the connection with a reset, as a crash on the way does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True  # the client has gone, or a rule has broken the connection

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass
