"""What the engine asks of a place for objects.

A `Store` holds objects by key below one root. Keys are relative to the root, `/` between folders;
`keys.key_of_path` makes one from the path of an output file. Every method may be called from
several threads at once, raises only `core.errors`, and sees what was written before it was called:
nothing is remembered between calls. A store survives pickling and a fork.

An object appears whole or not at all: `write`, `create`, `copy` and `Upload.complete` show it with
their last step, and what a killed process leaves behind is not listed.
"""

# ruff: noqa: PLC0415 - clients are slow to load, and only some stores need them

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self, cast

from prefect_datasets.core.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    StoreError,
)
from prefect_datasets.core.store.transfers import run_all
from prefect_datasets.core.store.translate import Failure

if TYPE_CHECKING:
    from typing_extensions import Buffer

PROBE_PREFIX = "@probe/"


class Range(NamedTuple):
    """Some bytes of a stored object."""

    key: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says about one object.

    Attributes:
        key: Its key, below the store's root.
        n_bytes: Its size.
        modified: When it was written, by the store's clock: seconds since 1970.
        etag: What is another once its bytes are; empty where the store has no such thing.
    """

    key: str
    n_bytes: int
    modified: float
    etag: str = ""


class Upload(ABC):
    """Writes one object of known size in pieces; leaving the block with an exception aborts.

    Attributes:
        n_bytes: Size of the object.
        piece_bytes: Size of the pieces to send: all but the last should have it.
        min_piece_bytes: All pieces but the last must have at least this size.
        any_order: Pieces may come in any order and from several threads. Otherwise they come in
            order, one at a time.
        can_copy: `copy` works.
        file: A file of this machine in which a piece may as well be written to its place, also by
            other processes; None where there is none.
    """

    piece_bytes: int
    min_piece_bytes: int = 1
    any_order: bool = True
    can_copy: bool = False
    file: str | None = None

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes

    @abstractmethod
    def piece(self, index: int, offset: int, data: Buffer | Sequence[Buffer]) -> None:
        """Send a piece; a sequence is sent as the bytes of its items, one after the other.

        Args:
            index: Number of the piece, from 0 without gaps.
            offset: Where in the object it begins.
            data: Its bytes.
        """

    def copy(self, index: int, offset: int, source: Range) -> None:
        """Make a piece of bytes that are in the store already, without fetching them.

        Raises:
            NotFoundError: There is no such source.
            IntegrityError: The source ends too early.
        """
        raise NotImplementedError

    @abstractmethod
    def complete(self) -> None:
        """Make the object visible; every byte must have been sent."""

    @abstractmethod
    def abort(self) -> None:
        """Drop what was sent; safe to call at any time, again, or after `complete`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.abort()


class Reader:
    """Fills buffers with stored bytes; one thread's own, until its block is left.

    Args:
        store: Where the bytes are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def read_into(self, key: str, start: int, buffer: memoryview) -> None:
        """Fill all of `buffer` with the bytes of an object from byte `start` on.

        Raises:
            NotFoundError: There is no such object.
            IntegrityError: The object ends earlier.
        """
        buffer[:] = self._store.read_range(key, start, len(buffer))

    def close(self) -> None:
        """Give back what was held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Store(ABC):
    """A place for objects below one root.

    Attributes:
        url: The root, without secrets.
        bucket: The bucket or container for log lines; the folder for a local store.
        kind: The URL's scheme: `s3`, `gs`, `az`, `file`, `memory` or another of fsspec's.
    """

    n_threads: ClassVar[int] = 32

    url: str
    bucket: str
    kind: str

    def __init__(self, url: str, options: Mapping[str, object], *, kind: str, bucket: str) -> None:
        self.url = url
        self.kind = kind
        self.bucket = bucket
        self._options = dict(options)
        self._conditions_ignored: bool | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[str, dict[str, object]]]:
        from prefect_datasets.core.store import open_store

        return open_store, (self.url, self._options)

    @property
    def options(self) -> Mapping[str, object]:
        """The options it was opened with, secrets among them."""
        return self._options

    @property
    def endpoint(self) -> str:
        """The address of the server, where it is known; for messages."""
        return ""

    def url_of(self, key: str) -> str:
        """Return the full URL of the object at `key`, without secrets."""
        return f"{self.url.rstrip('/')}/{key}"

    # -- reading

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return a whole object.

        Raises:
            NotFoundError: There is none.
        """

    @abstractmethod
    def read_range(self, key: str, start: int, length: int) -> memoryview:
        """Return exactly `length` bytes of an object, from byte `start` on.

        Raises:
            NotFoundError: There is no such object.
            IntegrityError: The object ends earlier.
        """

    def read_many(self, ranges: Sequence[Range]) -> list[memoryview]:
        """Return the bytes of all ranges, in their order, several requests at once."""
        return run_all(lambda wanted: self.read_range(*wanted), ranges, n_threads=self.n_threads)

    def read_with_info(self, wanted: Range) -> tuple[memoryview, ObjectInfo]:
        """Return bytes of an object, and what is known of the object that they are of.

        Raises:
            NotFoundError: There is no such object.
            IntegrityError: The object ends earlier.
        """
        data = self.read_range(*wanted)
        found = self.info(wanted.key)
        if found is None:
            raise NotFoundError("No such object", subject=self.url_of(wanted.key))
        return data, found

    def reader(self) -> Reader:
        """Return what a thread that reads much fills its own buffer with."""
        return Reader(self)

    @abstractmethod
    def info(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None if there is none."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object below the folder `prefix`, at any depth, in no certain order.

        Empty objects that only mark a folder, as web consoles make them, are left out.
        """

    @abstractmethod
    def list_folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below the folder `prefix`, sorted."""

    # -- writing

    @abstractmethod
    def write(self, key: str, data: Buffer) -> None:
        """Write an object in one go, over the one that may be there."""

    def write_many(self, items: Sequence[tuple[str, Buffer]]) -> None:
        """Write all objects, several at once."""
        run_all(lambda item: self.write(*item), items, n_threads=self.n_threads)

    @abstractmethod
    def create(self, key: str, data: bytes) -> None:
        """Write an object that must not be there yet; of several that try at once one succeeds.

        A reply that is lost on its way can make one's own object look like another's: who gets a
        `ConflictError` reads the object and looks whose it is.

        Raises:
            ConflictError: There is one.
        """

    @abstractmethod
    def upload(self, key: str, n_bytes: int) -> Upload:
        """Begin to write an object of `n_bytes` in pieces, over the one that may be there."""

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Copy an object inside the store.

        Raises:
            NotFoundError: There is no such source.
        """

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that isn't there is deleted already."""

    def abort_stale_uploads(self, older_than_seconds: float) -> int:
        """Drop what killed processes left of uploads that began that long ago; return how many."""
        del older_than_seconds
        return 0

    # -- probing

    def ignores_conditions(self) -> bool:
        """Tell whether the store lets `create` overwrite; asked of the store once."""
        if self._conditions_ignored is None:
            self._conditions_ignored = self._probe_conditions()
        return self._conditions_ignored

    def _probe_conditions(self) -> bool:
        key = f"{PROBE_PREFIX}{os.urandom(16).hex()}"
        try:
            self.create(key, b"1")
            self.create(key, b"2")
        except ConflictError:
            return False
        except StoreError as error:
            if Failure.of(error).is_unsupported:
                return True
            raise
        finally:
            self.delete([key])
        return True

    def check(self) -> None:
        """Write, read and delete a small object: one clear error if the store can't be used.

        Raises:
            NotFoundError: The bucket does not exist.
            AccessDeniedError: The credentials are missing or refused.
            StoreError: The store can't be reached.
            IntegrityError: It gives back other bytes.
        """
        key = f"{PROBE_PREFIX}{os.urandom(16).hex()}"
        self.write(key, b"prefect-datasets")
        try:
            if self.read(key) != b"prefect-datasets":
                raise IntegrityError(
                    "The store gave back other bytes than were written",
                    subject=self.url_of(key),
                    hint="Look at what stands between here and the store.",
                )
        finally:
            self.delete([key])


def folder_prefix(prefix: str) -> str:
    """Return `prefix` as a folder's: empty for the root, else with one `/` at its end."""
    bare = prefix.rstrip("/")
    return f"{bare}/" if bare else ""


def bare_etag(text: str | None) -> str:
    """Return an ETag without quotes and the mark of a weak one, which not all replies have."""
    return (text or "").removeprefix("W/").strip('"')


def too_short(url: str, start: int, length: int, got: int) -> IntegrityError:
    """Return the error for an object that ends before the wanted range does."""
    return IntegrityError(
        f"The object ends early: {got} of {length} bytes from byte {start} on",
        subject=url,
        hint="It was cut or replaced; restore it or publish again.",
    )


def buffers_of(data: Buffer | Sequence[Buffer]) -> Sequence[Buffer]:
    """Return the buffers of a piece, which may be one buffer or several."""
    if isinstance(data, list | tuple):
        return cast("Sequence[Buffer]", data)
    return [cast("Buffer", data)]


def joined(data: Buffer | Sequence[Buffer]) -> Buffer:
    """Return a piece's bytes as one buffer."""
    buffers = buffers_of(data)
    return buffers[0] if len(buffers) == 1 else b"".join(buffers)
