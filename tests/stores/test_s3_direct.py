"""Replies that a server gives, or something between: the bytes that were asked for, or none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.store.s3_direct import S3Reader

DATA = bytes(range(251)) * 4000
RANGES = [(5, 100), (300_000, 500_000), (7, 1), (1000, 100), (900_000, 99_999)]

Reply = Callable[[int, int], list[bytes]]


def head(start: int, end: int, *more: str) -> bytes:
    lines = [
        "HTTP/1.1 206 Partial Content",
        f"Content-Length: {end - start}",
        f"Content-Range: bytes {start}-{end - 1}/{len(DATA)}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def right(start: int, end: int) -> list[bytes]:
    return [head(start, end) + DATA[start:end]]


def in_drops(start: int, end: int) -> list[bytes]:
    body = [DATA[at : min(at + 9_000, end)] for at in range(start, end, 9_000)]
    return [bytes([byte]) for byte in head(start, end)] + body


def too_much(start: int, end: int) -> list[bytes]:
    return [head(start, end) + DATA[start:end] + b"more"]


def twice(start: int, end: int) -> list[bytes]:
    return right(start, end) * 2


def too_little(start: int, end: int) -> list[bytes]:
    return [head(start, end) + DATA[start : end - 1], b""]


def chunked(start: int, end: int) -> list[bytes]:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (end - start, DATA[start:end])
    return [b"HTTP/1.1 206 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body]


def whole(start: int, end: int) -> list[bytes]:
    del start, end
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA]


def elsewhere(start: int, end: int) -> list[bytes]:
    return [head(start + 1, end + 1) + DATA[start + 1 : end + 1]]


def huge_head(start: int, end: int) -> list[bytes]:
    return [head(start, end, f"X: {'y' * 70_000}") + DATA[start:end]]


def encoded(start: int, end: int) -> list[bytes]:
    return [head(start, end, "Content-Encoding: gzip") + DATA[start:end]]


def moved(start: int, end: int) -> list[bytes]:
    del start, end
    return [b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"]


@pytest.fixture
def serve() -> Iterator[Callable[[Reply], str]]:
    """Return what starts a server that gives one kind of reply, and its URL."""
    listeners: list[socket.socket] = []

    def start(reply: Reply) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=_accept, args=(listener, reply), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.close()


def _accept(listener: socket.socket, reply: Reply) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection, reply), daemon=True).start()


def _answer(connection: socket.socket, reply: Reply) -> None:
    with suppress(OSError), connection:
        while request := connection.recv(1 << 16):
            wanted = request.partition(b"Range: bytes=")[2].partition(b"\r\n")[0]
            first, _, last = wanted.partition(b"-")
            for piece in reply(int(first), int(last) + 1):
                if not piece:
                    return
                connection.sendall(piece)


@pytest.fixture
def store() -> Store:
    """What reads where the reader leaves it."""
    store = open_store("memory://direct")
    store.write("key", DATA)
    return store


@pytest.mark.parametrize(
    "reply",
    [
        right,
        in_drops,
        too_much,
        twice,
        too_little,
        chunked,
        whole,
        elsewhere,
        huge_head,
        encoded,
        moved,
    ],
)
def test_what_is_read_is_what_was_asked_for(
    serve: Callable[[Reply], str], store: Store, reply: Reply
) -> None:
    url = serve(reply)
    with S3Reader(store, lambda key: f"{url}/bucket/{key}?signed=1") as reader:
        for start, length in RANGES:
            buffer = memoryview(bytearray(length))
            reader.read_into("key", start, buffer)
            assert bytes(buffer) == DATA[start : start + length]


@pytest.mark.parametrize("reply", [right, in_drops])
def test_a_right_reply_is_taken(serve: Callable[[Reply], str], reply: Reply) -> None:
    url = serve(reply)
    nothing = open_store("memory://nothing")
    with S3Reader(nothing, lambda key: f"{url}/bucket/{key}?signed=1") as reader:
        for start, length in RANGES:
            buffer = memoryview(bytearray(length))
            reader.read_into("key", start, buffer)
            assert bytes(buffer) == DATA[start : start + length]
