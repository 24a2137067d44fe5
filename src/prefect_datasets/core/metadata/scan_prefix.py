"""Which objects lie below a prefix of a store: the same table as of a directory's files.

Objects have no `st_mtime_ns`. In its place stands the stamp of an object (`core.store.stamps`):
whoever reads it later compares.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import Bools, binaries, bool_array, mask, numbers, one_array
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format.rows import LISTING
from prefect_datasets.core.format.tables import is_folder, is_unsafe
from prefect_datasets.core.globs import Globs
from prefect_datasets.core.metadata.names import MAX_PATH_BYTES, fault_in_name, find_twins, shown
from prefect_datasets.core.metadata.scan import Scan, refusal
from prefect_datasets.core.metadata.walk import (
    MAX_SIDECAR_BYTES,
    METADATA_FILE,
    SIDECAR_SUFFIX,
    TOO_LONG,
    UNFINISHED_PREFIX,
    are_twins,
    has_own_keys,
    misplaced,
)
from prefect_datasets.core.store import Range
from prefect_datasets.core.store.stamps import read_as_listed, stamp_of
from prefect_datasets.core.store.transfers import run_all

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from prefect_datasets.core.store import Store

_ROWS_AT_ONCE = 65536
_SIDECARS_AT_ONCE = 1024
_READ_BYTES = 8 << 20
_BYTES = pa.binary()
_JSONL, _SUFFIX = METADATA_FILE.encode(), SIDECAR_SUFFIX.encode()
_CONTROLS = r"[\x00-\x1f\x7f-\x{9f}]"


@dataclass(frozen=True, slots=True)
class PrefixScan(Scan):
    """The objects below a prefix.

    Attributes:
        store: The store, its root being the prefix.
        metadata: Size and stamp of each metadata file.
        has_etags: Whether all stamps are of ETags: they tell objects apart for good.
        is_included: Which rows of the listing are asked for; None for all.
    """

    store: Store
    metadata: dict[str, tuple[int, int]]
    has_etags: bool
    is_included: Bools | None

    @property
    def full_root(self) -> str:
        return self.store.url_of("")

    def open(self, path: str) -> BinaryIO:
        stream = _Stream(self.store, path, *self.metadata[path])
        return cast("BinaryIO", io.BufferedReader(stream, _READ_BYTES))

    def read_all(self, paths: Sequence[str]) -> Iterator[bytes | Exception]:
        for first in range(0, len(paths), _SIDECARS_AT_ONCE):
            yield from _read_whole(
                self.store, paths[first : first + _SIDECARS_AT_ONCE], self.metadata
            )


def scan_prefix(store: Store, *, include: Sequence[str] = ()) -> PrefixScan:
    """List what lies below the root of a store.

    Args:
        store: The store, opened at the prefix.
        include: Patterns of the files that are wanted; left out, all. Metadata files count in any
            case.

    Raises:
        InvalidInputError: Nothing is there, nothing of it is wanted, or names that are wanted can't
            be published: all of them are listed.
        StoreError: The store failed.
    """
    found, has_etags = _listed(store)
    if not found.num_rows:
        raise InvalidInputError(
            "No objects lie below the prefix",
            subject=store.url,
            hint="Name the folder that they lie in.",
        )
    metadata = _metadata_files(store, found)
    warnings = _misplaced(one_array(found["path"]))
    found = _without(found, [*metadata, *_unfinished(found)])
    is_wanted, unmatched = _wanted(one_array(found["path"]), include, store.url)
    is_kept = _check_names(one_array(found["path"]), is_wanted, store.url)
    listing = found.filter(bool_array(is_kept)).cast(LISTING)
    return PrefixScan(
        root=store.url,
        listing=listing,
        metadata_paths=tuple(path.decode() for path in metadata),
        warnings=(
            *warnings,
            *(
                f"The pattern {pattern!r} matches nothing below {store.url}"
                for pattern in unmatched
            ),
            *map(are_twins, _twins(one_array(listing["path"]))),
        ),
        store=store,
        metadata={path.decode(): known for path, known in metadata.items()},
        has_etags=has_etags,
        is_included=is_wanted[is_kept] if include else None,
    )


# -- listing


def _listed(store: Store) -> tuple[pa.Table, bool]:
    """Return path (bytes), size and stamp of all objects, in path order; whether all have ETags."""
    batches: list[pa.RecordBatch] = []
    has_etags = True
    names: list[bytes] = []
    sizes, stamps = array("q"), array("q")
    for info in chain(store.list(""), [None]):
        if info is not None:
            names.append(info.key.encode(errors="surrogateescape"))
            sizes.append(info.n_bytes)
            stamps.append(stamp_of(info))
            has_etags = has_etags and bool(info.etag)
        if len(names) == _ROWS_AT_ONCE or info is None:
            columns = [binaries(names, _BYTES), _numbers(sizes), _numbers(stamps)]
            batches.append(pa.RecordBatch.from_arrays(columns, names=LISTING.names))
            names, sizes, stamps = [], array("q"), array("q")
    found = pa.Table.from_batches(batches)
    return found.take(pc.sort_indices(found["path"])).combine_chunks(), has_etags


def _numbers(values: array[int]) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def _without(found: pa.Table, names: Sequence[bytes]) -> pa.Table:
    if not names:
        return found
    return found.filter(pc.invert(pc.is_in(found["path"], binaries(names, _BYTES))))


# -- metadata files


def _metadata_files(store: Store, found: pa.Table) -> dict[bytes, tuple[int, int]]:
    """Return size and stamp of each metadata file, in path order."""
    paths = one_array(found["path"])
    is_sidecar = pc.ends_with(paths, _SUFFIX)
    own = binaries([name[: -len(_SUFFIX)] for name in paths.filter(is_sidecar).to_pylist()], _BYTES)
    is_beside = mask(pc.is_in(own, value_set=paths))
    sidecars = found.filter(is_sidecar)
    known = _known(sidecars.filter(bool_array(is_beside)))
    alone = _known(sidecars.filter(bool_array(~is_beside)))
    known |= _that_say_so(store, alone)
    known |= _known(found.filter(pc.equal(paths, _JSONL)))
    return dict(sorted(known.items()))


def _known(found: pa.Table) -> dict[bytes, tuple[int, int]]:
    columns = (found[name].to_pylist() for name in LISTING.names)
    return {path: (size, stamp) for path, size, stamp in zip(*columns, strict=True)}


def _that_say_so(store: Store, alone: dict[bytes, tuple[int, int]]) -> dict[bytes, tuple[int, int]]:
    """Return those that are metadata though the file that they are named after is not there."""
    small = {path: known for path, known in alone.items() if known[0] <= MAX_SIDECAR_BYTES}
    paths = [path.decode(errors="surrogateescape") for path in small]
    known = dict(zip(paths, small.values(), strict=True))
    texts = _read_whole(store, paths, known)
    return {
        path: small[path] for path, text in zip(small, texts, strict=True) if has_own_keys(text)
    }


def _read_whole(
    store: Store, paths: Sequence[str], known: Mapping[str, tuple[int, int]]
) -> Iterator[bytes]:
    """Yield whole objects, many requests at once; raises as `read_as_listed` does."""

    def read(path: str) -> bytes:
        n_bytes, stamp = known[path]
        wanted = Range(path, 0, n_bytes)
        return bytes(read_as_listed(store, wanted, n_bytes=n_bytes, stamp=stamp))

    for first in range(0, len(paths), _SIDECARS_AT_ONCE):
        some = paths[first : first + _SIDECARS_AT_ONCE]
        yield from run_all(read, some, n_threads=store.n_threads)


def _unfinished(found: pa.Table) -> list[bytes]:
    paths = one_array(found["path"])
    return paths.filter(pc.starts_with(paths, UNFINISHED_PREFIX.encode())).to_pylist()


def _misplaced(paths: pa.Array) -> list[str]:
    is_deep = pc.ends_with(paths, b"/" + _JSONL)
    return [misplaced(path) for path in paths.filter(is_deep).to_pylist()]


class _Stream(io.RawIOBase):
    """An object as a file, as long as it is what it was."""

    def __init__(self, store: Store, path: str, n_bytes: int, stamp: int) -> None:
        self._store, self._path, self._n_bytes, self._stamp = store, path, n_bytes, stamp
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        wanted = Range(self._path, self._at, min(len(view), self._n_bytes - self._at))
        if not wanted.length:
            return 0
        data = read_as_listed(self._store, wanted, n_bytes=self._n_bytes, stamp=self._stamp)
        view[: wanted.length] = data
        self._at += wanted.length
        return wanted.length


# -- names


def _wanted(paths: pa.Array, include: Sequence[str], url: str) -> tuple[Bools, tuple[str, ...]]:
    """Tell which files are asked for, and which patterns match none.

    A name that no pattern can be compared with counts.
    """
    if not include:
        return np.ones(len(paths), np.bool_), ()
    globs, is_text = Globs(include), _is_text(paths)
    texts = paths.filter(bool_array(is_text)).cast(pa.string())
    wanted = ~is_text
    wanted[is_text] = mask(globs.settled(texts).filter(texts))
    if not wanted.any():
        raise InvalidInputError(
            f"None of {len(paths)} objects matches {' or '.join(map(repr, include))}",
            subject=url,
            hint="`*` matches within a folder, `**` across folders.",
        )
    return wanted, globs.unmatched(texts) if len(include) > 1 else ()


def _is_text(paths: pa.Array) -> Bools:
    """Tell which names are UTF-8."""
    try:
        paths.cast(pa.string())
    except pa.ArrowInvalid:
        return np.array([_decodes(name) for name in paths.to_pylist()], np.bool_)
    return np.ones(len(paths), np.bool_)


def _decodes(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_names(paths: pa.Array, is_wanted: Bools, url: str) -> Bools:
    """Tell which files can be published; raise `InvalidInputError` if one that is wanted can't."""
    odd = ~_is_text(paths) | (numbers(pc.binary_length(paths), np.int32) > MAX_PATH_BYTES)
    texts = paths.filter(bool_array(~odd)).cast(pa.string())
    is_unsafe_text = pc.or_(is_unsafe(texts), pc.match_substring_regex(texts, _CONTROLS))
    odd[~odd] = mask(is_unsafe_text)
    is_good = ~odd & is_wanted
    good = paths.filter(bool_array(is_good)).cast(pa.string())
    is_also_folder = np.zeros(len(paths), np.bool_)
    is_also_folder[is_good] = mask(is_folder(good))
    refused = (odd | is_also_folder) & is_wanted
    if refused.any():
        names = paths.filter(bool_array(refused)).to_pylist()
        raise refusal(url, [f"{shown(name)}: {_fault(name)}" for name in names])
    return ~odd


def _fault(name: bytes) -> str:
    if len(name) > MAX_PATH_BYTES:
        return TOO_LONG
    if (fault := fault_in_name(name)) is not None:
        return fault
    if {b"", b".", b".."} & set(name.split(b"/")):
        return "an empty part, `.` or `..` in a key is no name of a file"
    return "others lie below it as if it were a folder"


def _twins(paths: pa.Array) -> Iterator[list[bytes]]:
    """Yield paths that some file systems take for one."""
    letters = paths.buffers()[2]
    text = letters.to_pybytes() if letters else b""
    if not text.isascii() or text != text.lower():
        yield from find_twins(paths.cast(_BYTES).to_pylist(), text)
