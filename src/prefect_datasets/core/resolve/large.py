"""A file above one request: pieces read side by side, hashed one after the other."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from prefect_datasets.core.cache.folders import explain
from prefect_datasets.core.checksum import crc32_of
from prefect_datasets.core.errors import AccessDeniedError, DatasetError
from prefect_datasets.core.reads import Large
from prefect_datasets.core.resolve.fetch import HEALABLE
from prefect_datasets.core.resolve.write_files import write_at
from prefect_datasets.core.store.base import Range

if TYPE_CHECKING:
    from prefect_datasets.core.resolve.fetch import Fetcher, Members
    from prefect_datasets.core.resolve.hands import Hands

Piece = tuple[int, int]

# Not read-only before it is whole: who picks it up must be able to write.
_LARGE_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class _Sums:
    """The running digest and CRC-32 of a file."""

    def __init__(self) -> None:
        self._digest = sha256()
        self._crc32 = 0

    def feed(self, data: memoryview) -> None:
        self._digest.update(data)
        self._crc32 = crc32_of(data, self._crc32)

    def match(self, members: Members, row: int) -> bool:
        if members.digests is None:
            return True
        if members.crc32s is not None and self._crc32 != int(members.crc32s[row]):
            return False
        return self._digest.digest() == members.digests[row].as_py()


class LargeFile:
    """One large file in the making; its pieces are run in their order, by several threads.

    Args:
        fetcher: Reads the bytes.
        members: The part it is in.
        place: Where it lies.
        have: Start and length of pieces that an earlier attempt wrote into the file already.
    """

    def __init__(
        self, fetcher: Fetcher, members: Members, place: Large, *, have: set[Piece]
    ) -> None:
        self._fetcher = fetcher
        self._members = members
        self._place = place
        self._have = have
        self._path = members.path(place.row)
        self._handle: int | None = None
        self._sums = _Sums()
        self._hashed = 0
        self._left = len(list(self.pieces()))
        self._error: DatasetError | None = None
        self._is_broken = False
        self._changed = threading.Condition()

    def __del__(self) -> None:
        if self._handle is not None:  # another file failed, and the rest of this one was not run
            os.close(self._handle)

    def pieces(self) -> Iterator[Piece]:
        """Yield start and length of each piece, in the order in which to run them."""
        step = self._fetcher.cost.request_bytes
        for start in range(0, self._place.n_bytes, step):
            yield start, min(step, self._place.n_bytes - start)

    def run(self, piece: Piece, hands: Hands) -> None:
        """Fetch one piece; the last one to end completes the file."""
        try:
            data = self._obtain(piece, hands)
            self._hash(piece, data)
            del data
            if self._is_last():
                self._complete(hands)
        except BaseException:
            self._break()
            raise

    def _open(self, hands: Hands) -> int:
        self._fetcher.gate.wait()  # a file of another tree may lie in its place until then
        with self._changed:
            if self._handle is None:
                folder, _, name = self._path.rpartition("/")
                try:
                    parent = hands.target.get(folder)
                    # What is there already may be a link to a file of another tree.
                    flags = _LARGE_FILE if self._have else _LARGE_FILE | os.O_EXCL
                    self._handle = os.open(name, flags, 0o644, dir_fd=parent)
                except FileNotFoundError:
                    raise
                except OSError as error:
                    raise self._explain(error) from error
            return self._handle

    def _obtain(self, piece: Piece, hands: Hands) -> memoryview | None:
        """Return a piece's bytes, which are in the file then; None where they can't be read."""
        start, length = piece
        if piece in self._have:
            return memoryview(os.pread(self._open(hands), length, start))
        place = self._place
        try:
            data = self._fetcher.read([Range(place.key, place.start + start, length)], hands)[0]
        except AccessDeniedError:
            raise
        except HEALABLE as error:
            self._error = error
            return None
        self._write(self._open(hands), data, start)
        self._fetcher.attempt.note_piece(self._members.part, place.row, start, length)
        self._fetcher.progress.advance(n_files=0, n_bytes=length)
        return data

    def _write(self, handle: int, data: memoryview, start: int) -> None:
        try:
            write_at(handle, data, start)
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> Exception:
        return explain(error, self._path, self._fetcher.attempt.files)

    def _hash(self, piece: Piece, data: memoryview | None) -> None:
        """Feed a piece when all before it were fed."""
        if data is None:
            self._break()
            return
        with self._changed:
            self._changed.wait_for(lambda: self._is_broken or self._hashed == piece[0])
            if not self._is_broken:
                self._sums.feed(data)
                self._hashed += piece[1]
            self._changed.notify_all()

    def _break(self) -> None:
        with self._changed:
            self._is_broken = True
            self._changed.notify_all()

    def _is_last(self) -> bool:
        with self._changed:
            self._left -= 1
            return self._left == 0

    def _complete(self, hands: Hands) -> None:
        row, handle = self._place.row, self._open(hands)
        if self._is_broken or not self._sums.match(self._members, row):
            self._heal(handle, hands)
        os.ftruncate(handle, self._place.n_bytes)
        os.fchmod(handle, 0o444)
        os.close(handle)
        self._handle = None
        self._fetcher.attempt.note_rows(self._members.part, [(row, row + 1)])
        self._fetcher.progress.advance(n_files=1, n_bytes=0)

    def _heal(self, handle: int, hands: Hands) -> None:
        """Fetch the whole file again, and then from its own object."""
        place = self._place
        warning = f"Damaged or missing bytes in {place.key}: trying again, then elsewhere"
        self._fetcher.warn_once(place.key, warning)
        rows = np.array([place.row], np.int64)
        own = self._members.single(rows).keys
        sources = [(place.key, place.start), *((key, 0) for key in own if key != place.key)]
        if not any(self._copy(handle, key, start, hands) for key, start in sources):
            errors = {place.row: self._error} if self._error else {}
            raise self._fetcher.verdict(self._members, rows, errors)

    def _copy(self, handle: int, key: str, base: int, hands: Hands) -> bool:
        sums = _Sums()
        try:
            for start, length in self.pieces():
                data = self._fetcher.read([Range(key, base + start, length)], hands)[0]
                self._write(handle, data, start)
                sums.feed(data)
        except HEALABLE as error:
            self._error = error
            return False
        return sums.match(self._members, self._place.row)
