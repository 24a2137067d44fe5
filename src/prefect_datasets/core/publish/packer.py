"""The process that fills pieces for another one: reads what to do, fills shared memory, answers.

    standard input     an int64 of the length and a `Batch` as marshal writes it, with the place of
                       the piece in the shared memory before it
    standard output    an int64 of the length and pickled `Hashes`, or the error

It ends when its input does, or when the process that started it has gone.
"""

from __future__ import annotations

import marshal
import mmap
import os
import pickle
import select
import struct
from typing import IO

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.publish.fill import Batch, Hashes, fill

LENGTH = struct.Struct("<q")
# How often to look whether the parent is there, should another process hold the pipe open.
_LOOK_SECONDS = 1.0


def send(stream: IO[bytes], message: bytes) -> None:
    """Write a message."""
    stream.write(LENGTH.pack(len(message)) + message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """Read a message.

    Raises:
        EOFError: There is none any more.
    """
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (n_bytes,) = LENGTH.unpack(head)
    message = stream.read(n_bytes)
    if len(message) < n_bytes:
        raise EOFError
    return message


def main(memory: int, parent: int) -> None:
    """Serve until the input ends.

    Args:
        memory: Descriptor of the shared memory.
        parent: Process that started this one.
    """
    whole = memoryview(mmap.mmap(memory, 0))
    with open(0, "rb", closefd=False) as orders, open(1, "wb", closefd=False) as replies:
        while _wait_for(orders, parent):
            try:
                start, end, *fields = marshal.loads(receive(orders))  # noqa: S302 - from the parent
                send(replies, pickle.dumps(_filled(whole[start:end], Batch(*fields))))
            except (EOFError, BrokenPipeError):
                break
    os._exit(0)  # nothing is left to be done, and the mapping is large


def _filled(view: memoryview, batch: Batch) -> Hashes | DatasetError:
    try:
        return fill(view, batch)
    except DatasetError as error:
        return error


def _wait_for(orders: IO[bytes], parent: int) -> bool:
    """Wait for an order; return False once the parent has gone."""
    while os.getppid() == parent:
        if select.select([orders], [], [], _LOOK_SECONDS)[0]:
            return True
    return False
