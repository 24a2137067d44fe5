"""Bytes in and out of open files, wherever a call may do less than it was asked."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

# More buffers than this in one writev are refused by Linux.
_MAX_BUFFERS = 1024
# Answers of copy_file_range where the kernel or the file system can't do it.
_NO_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)
_COPY_BYTES = 8 << 20


def read_at(descriptor: int, start: int, length: int) -> bytes:
    """Read up to `length` bytes; less only where the file ends."""
    data = os.pread(descriptor, length, start)
    if len(data) == length or not data:
        return data
    # One call gives at most 2 GiB.
    pieces = [data]
    while (missing := length - sum(map(len, pieces))) and pieces[-1]:
        pieces.append(os.pread(descriptor, missing, start + length - missing))
    return b"".join(pieces)


def read_into(descriptor: int, start: int, buffer: memoryview) -> int:
    """Fill a buffer; return how many bytes there were, less only where the file ends."""
    done = 0
    while done < len(buffer) and (got := os.preadv(descriptor, [buffer[done:]], start + done)):
        done += got
    return done


def write_at(descriptor: int, offset: int, buffers: Sequence[Buffer]) -> None:
    """Write all buffers, one after the other, from `offset` on."""
    for first in range(0, len(buffers), _MAX_BUFFERS):
        views = [memoryview(part).cast("B") for part in buffers[first : first + _MAX_BUFFERS]]
        while views := [view for view in views if view]:
            written = os.pwritev(descriptor, views, offset)
            offset += written
            views = list(_left(views, written))


def _left(views: Sequence[memoryview], written: int) -> Iterator[memoryview]:
    """Yield what of `views` a short write left over."""
    for view in views:
        if written < len(view):
            yield view[written:]
        written = max(0, written - len(view))


def copy_range(reading: int, start: int, writing: int, offset: int, length: int) -> int:
    """Copy bytes between two files, in the kernel if it can; return how many there were."""
    done = 0
    while done < length:
        try:
            n_bytes = os.copy_file_range(
                reading, writing, length - done, start + done, offset + done
            )
        except OSError as error:
            if error.errno not in _NO_COPY:
                raise
            return done + _copy_by_hand(
                reading, start + done, writing, offset + done, length - done
            )
        if n_bytes == 0:
            break
        done += n_bytes
    return done


def _copy_by_hand(reading: int, start: int, writing: int, offset: int, length: int) -> int:
    """Copy bytes through memory; return how many there were."""
    done = 0
    while done < length:
        data = os.pread(reading, min(_COPY_BYTES, length - done), start + done)
        if not data:
            break
        write_at(writing, offset + done, [data])
        done += len(data)
    return done
