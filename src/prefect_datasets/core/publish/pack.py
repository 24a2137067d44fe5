"""Publish one part: read each file once, store it, build the package, write the table.

One read of a file goes into one buffer, which is the package's next piece and the body of the
file's own object, and is hashed on the way. Nothing is written to the local disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from prefect_datasets.core.checksum import crc32_of
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.package import Layout, directory, layout, pack_header_into
from prefect_datasets.core.format.rows import ROWS, datum_ids
from prefect_datasets.core.publish.journal import Journal
from prefect_datasets.core.publish.plan_pieces import (
    CopyPiece,
    Group,
    Int64s,
    Run,
    Sizes,
    find_runs,
    plan_pieces,
)
from prefect_datasets.core.publish.source import Source
from prefect_datasets.core.publish.turns import Turns
from prefect_datasets.core.store import Range
from prefect_datasets.core.store.keys import key_of_path

if TYPE_CHECKING:
    from prefect_datasets.core.progress import Progress
    from prefect_datasets.core.publish.plan_version import PartPlan
    from prefect_datasets.core.store import Store, Upload

# Each worker holds one piece; they wait for the store most of the time.
_N_WORKERS = 4
# Pieces of a part without a package: only how much is read before it is sent.
_LOOSE_SIZES = Sizes(piece_bytes=16 << 20, min_piece_bytes=1)


def store_part(part: PartPlan, *, store: Store, progress: Progress) -> pa.Table:
    """Store the files of a part, and its package if it is packaged; return its rows (`ROWS`).

    Raises:
        SourceChangedError: A local file is not what it was when it was listed.
        StoreError: The store failed; what was stored is found by the next attempt.
    """
    if not part.is_packaged:
        writer = _PartWriter(part, store, progress, upload=None)
        writer.run()
        return writer.rows()
    plan = layout(part.rows["path"], part.rows["size"])
    key = _package_key(part)
    with store.upload(key, plan.n_bytes) as upload:
        writer = _PartWriter(part, store, progress, upload=upload, plan=plan)
        writer.run()
        upload.complete()
    return writer.rows(package=key)


def _package_key(part: PartPlan) -> str:
    assert part.uri is not None, "files in no version have no package"
    return keys.package_key(part.execution, part.uri, part.index, part.n_parts)


class _PartWriter:
    """The state of one part's publishing: what its files turned out to be."""

    def __init__(
        self,
        part: PartPlan,
        store: Store,
        progress: Progress,
        *,
        upload: Upload | None,
        plan: Layout | None = None,
    ) -> None:
        self._part, self._store, self._progress = part, store, progress
        self._upload, self._layout = upload, plan
        self._source = Source(part, store)
        self._names = [path.encode() for path in self._source.paths] if plan else []
        self._prefix = keys.files_prefix(part.execution)
        n = part.n_files
        self._starts, self._data = _offsets(part, plan)
        # Inherited files keep these; those of local files are written as they are read.
        self._sha256 = _digests(part.rows["sha256"])
        self._crc32 = part.rows["crc32"].fill_null(0).to_numpy().copy()
        self._is_stored = np.zeros(n, np.bool_)  # stored by this attempt, not by an earlier one
        self._journal = Journal(store, part.execution, part.uri, part.index)
        self._turn = Turns(any_order=upload is None or upload.any_order)
        self._tail: memoryview | None = None

    # -- the whole part

    def run(self) -> None:
        """Build and send all pieces, several at a time, then the directory."""
        pieces = self._plan()
        with ThreadPoolExecutor(_N_WORKERS, "publish") as pool:
            futures = [
                pool.submit(self._do, piece, is_last=piece is pieces[-1]) for piece in pieces
            ]
            self._wait(futures)
        if self._upload is not None:
            self._send_directory(pieces)

    def _wait(self, futures: Sequence[Future[None]]) -> None:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        failed = [future for future in done if future.exception() is not None]
        if failed:
            self._turn.give_up()
            for future in futures:
                future.cancel()
            failed[0].result()

    def _plan(self) -> list[CopyPiece | Group]:
        if self._upload is None:
            return plan_pieces(self._starts, (), _LOOSE_SIZES)
        sizes = Sizes(self._upload.piece_bytes, self._upload.min_piece_bytes)
        return plan_pieces(self._starts, self._runs(sizes), sizes)

    def _runs(self, sizes: Sizes) -> list[Run]:
        """Find what the store can copy from packages of the base."""
        if self._upload is None or not self._upload.can_copy:
            return []
        rows = self._part.rows
        stored = rows["package"].combine_chunks().dictionary_encode()
        codes = np.asarray(stored.indices.fill_null(-1), np.int64)
        is_inherited = np.asarray(rows["modified"].is_null())
        codes[~is_inherited] = -1
        stored_at = np.asarray(rows["offset"].fill_null(0), np.int64)
        headers = self._data - self._starts[:-1]
        return find_runs(
            self._starts,
            codes,
            stored_at - headers,
            stored.dictionary.to_pylist(),
            least_bytes=2 * sizes.min_piece_bytes,
        )

    def _note(self, member: int, sha256: bytes, crc32: int) -> None:
        self._sha256[32 * member : 32 * member + 32] = sha256
        self._crc32[member] = crc32

    def _digest_of(self, member: int) -> bytes:
        return bytes(self._sha256[32 * member : 32 * member + 32])

    def _send_directory(self, pieces: Sequence[CopyPiece | Group]) -> None:
        assert self._upload is not None
        assert self._layout is not None
        rows = self._part.rows
        tail = directory(rows["path"], rows["size"], self._crc32, self._starts[:-1])
        last = pieces[-1] if pieces else None
        if isinstance(last, Group) and self._tail is not None:
            index = last.index + len(last.cuts) - 2
            self._upload.piece(index, last.cuts[-2], [self._tail, tail])
        else:
            index = last.index + 1 if last else 0
            self._upload.piece(index, self._layout.directory_offset, tail)

    # -- one piece or group of pieces

    def _do(self, piece: CopyPiece | Group, *, is_last: bool) -> None:
        if isinstance(piece, CopyPiece):
            self._copy(piece)
        elif len(piece.cuts) == 2:
            self._build(piece, is_last=is_last)
        else:
            self._build_large(piece, is_last=is_last)

    def _copy(self, piece: CopyPiece) -> None:
        assert self._upload is not None
        source = Range(piece.key, piece.start, piece.n_bytes)
        with self._turn.of(piece.index):
            self._upload.copy(piece.index, piece.offset, source)
        low, high = np.searchsorted(self._starts, (piece.offset, piece.offset + piece.n_bytes))
        self._progress.advance(n_files=int(high - low), n_bytes=piece.n_bytes)

    def _build(self, group: Group, *, is_last: bool) -> None:
        """Build a piece of whole files."""
        view = memoryview(bytearray(group.cuts[1] - group.cuts[0]))
        self._fill(view, group.cuts[0], group.first, group.end)
        self._store_files(view, group.cuts[0], group.first, group.end)
        self._send(group.index, group.cuts[0], view, is_last=is_last)
        n_bytes = sum(self._source.sizes[group.first : group.end])
        self._progress.advance(n_files=group.end - group.first, n_bytes=n_bytes)

    def _fill(self, view: memoryview, base: int, first: int, end: int) -> None:
        """Read files into their places in a piece, hash them, and write their headers."""
        source, data, stored = self._source, self._data, list[int]()
        for member in range(first, end):
            if not source.is_local[member]:
                stored.append(member)
                continue
            at = int(data[member]) - base
            content = view[at : at + source.sizes[member]]
            source.read_local(member, content)
            self._note(member, hashlib.sha256(content).digest(), crc32_of(content, 0))
            self._write_header(view, base, member)
        if self._upload is not None:
            for member, content in source.read_stored(stored):
                at = int(data[member]) - base
                view[at : at + len(content)] = content
                self._write_header(view, base, member)

    def _write_header(self, view: memoryview, base: int, member: int) -> None:
        if self._upload is not None:
            crc32, size = int(self._crc32[member]), self._source.sizes[member]
            at = int(self._starts[member]) - base
            pack_header_into(view, at, self._names[member], size, crc32)

    def _store_files(self, view: memoryview, base: int, first: int, end: int) -> None:
        """Store the files of a piece that are not stored yet as objects of their own."""
        fresh = [member for member in range(first, end) if self._wants_object(member)]
        if not fresh:
            return
        items = [(self._key(member), self._content(view, base, member)) for member in fresh]
        self._store.write_many(items)
        self._is_stored[fresh] = True
        self._journal.add(self._rows_of(fresh))

    def _content(self, view: memoryview, base: int, member: int) -> memoryview:
        at = int(self._data[member]) - base
        return view[at : at + self._source.sizes[member]]

    def _wants_object(self, member: int) -> bool:
        source = self._source
        if not source.is_local[member] or not self._part.individual_files:
            return False
        return source.sha256s[member] != self._digest_of(member)

    def _key(self, member: int) -> str:
        return self._prefix + key_of_path(self._source.paths[member])

    def _send(self, index: int, offset: int, view: memoryview, *, is_last: bool) -> None:
        if self._upload is None:
            return
        if is_last:
            self._tail = view
            return
        with self._turn.of(index):
            self._upload.piece(index, offset, view)

    # -- a file of several pieces

    def _build_large(self, group: Group, *, is_last: bool) -> None:
        """Build the pieces of a group that ends with a file too large for one.

        Its header stands in the first piece and needs its crc32: the first piece is sent last, or,
        where the store takes pieces in order only, the file is read once more beforehand.
        """
        member, base = group.end - 1, group.cuts[0]
        first = memoryview(bytearray(group.cuts[1] - base))
        self._fill(first, base, group.first, member)
        self._store_files(first, base, group.first, member)
        is_known = self._hash_beforehand(member)
        begin = int(self._data[member]) - base
        for number, chunk in enumerate(self._large_chunks(group, is_known=is_known)):
            if number:
                is_tail = is_last and number == len(group.cuts) - 2
                self._send(group.index + number, group.cuts[number], chunk, is_last=is_tail)
                continue
            first[begin:] = chunk
            if is_known:
                self._send_first(group, first)
        if not is_known:
            self._send_first(group, first)
        n_bytes = sum(self._source.sizes[group.first : group.end])
        self._progress.advance(n_files=group.end - group.first, n_bytes=n_bytes)

    def _send_first(self, group: Group, first: memoryview) -> None:
        self._write_header(first, group.cuts[0], group.end - 1)
        self._send(group.index, group.cuts[0], first, is_last=False)

    def _hash_beforehand(self, member: int) -> bool:
        """Find out a large file's digest before it is sent, where that is needed or known."""
        source = self._source
        if not source.is_local[member]:
            return True
        if self._turn.any_order and source.sha256s[member] is None:
            return False
        self._note(member, *source.hash_local(member))
        return True

    def _large_chunks(self, group: Group, *, is_known: bool) -> Iterator[memoryview]:
        """Yield a large file in the chunks of its group's pieces; store and hash it meanwhile."""
        member = group.end - 1
        begins = [int(self._data[member]), *group.cuts[1:]]
        sizes = [end - begin for begin, end in pairwise(begins)]
        if not self._source.is_local[member]:
            if self._upload is not None:
                yield from self._source.stored_chunks(member, sizes)
            return
        chunks = self._hashed(member, sizes, is_known=is_known)
        wants_object = self._part.individual_files and not (
            is_known and not self._wants_object(member)
        )
        yield from self._stored(member, chunks) if wants_object else chunks

    def _hashed(self, member: int, sizes: list[int], *, is_known: bool) -> Iterator[memoryview]:
        sha256, crc32 = hashlib.sha256(), 0
        for chunk in self._source.local_chunks(member, sizes):
            sha256.update(chunk)
            crc32 = crc32_of(chunk, crc32)
            yield chunk
        if is_known and sha256.digest() != self._digest_of(member):
            raise self._source.changed(member)
        self._note(member, sha256.digest(), crc32)

    def _stored(self, member: int, chunks: Iterator[memoryview]) -> Iterator[memoryview]:
        """Pass chunks on and store the file as an object of its own."""
        offset = 0
        with self._store.upload(self._key(member), self._source.sizes[member]) as upload:
            for number, chunk in enumerate(chunks):
                upload.piece(number, offset, chunk)
                offset += len(chunk)
                yield chunk
            upload.complete()
        self._is_stored[member] = True
        self._journal.add(self._rows_of([member]))

    # -- what came out

    def rows(self, package: str | None = None) -> pa.Table:
        """Return the part's rows (`ROWS`); `package` is the key of its package."""
        given = self._part.rows
        n = given.num_rows
        offsets = pa.array(self._data, pa.int64()) if package else given["offset"]
        columns = {
            "path": given["path"],
            "size": given["size"],
            "sha256": _binaries(self._sha256),
            "crc32": pa.array(self._crc32, pa.uint32()),
            **self._objects(),
            "package": pa.array([package] * n, pa.string()) if package else given["package"],
            "offset": offsets,
            "metadata": given["metadata"],
        }
        return pa.table([columns[name] for name in ROWS.names], schema=ROWS)

    def _objects(self) -> dict[str, Any]:
        """Return datum and url of each file: this attempt's, or those that were there already."""
        source, rows = self._source, self._part.rows
        datums: list[str] = rows["datum"].to_pylist()
        urls: list[str | None] = rows["url"].to_pylist()
        own = [
            member
            for member, is_local in enumerate(source.is_local)
            if is_local and (self._is_stored[member] or self._wants_new_datum(member))
        ]
        ids = datum_ids(self._part.execution, [source.paths[member] for member in own])
        for member, datum in zip(own, ids, strict=True):
            datums[member] = datum
            urls[member] = self._key(member) if self._is_stored[member] else None
        return {"datum": pa.array(datums, pa.string()), "url": pa.array(urls, pa.string())}

    def _wants_new_datum(self, member: int) -> bool:
        return self._source.sha256s[member] != self._digest_of(member)

    def _rows_of(self, members: Sequence[int]) -> pa.Table:
        """Return rows of files that were just stored, for the journal."""
        paths = [self._source.paths[member] for member in members]
        none = [None] * len(members)
        columns = [
            paths,
            [self._source.sizes[member] for member in members],
            [self._digest_of(member) for member in members],
            self._crc32[list(members)],
            datum_ids(self._part.execution, paths),
            [self._key(member) for member in members],
            none,
            none,
            none,
        ]
        arrays = [pa.array(c, field.type) for c, field in zip(columns, ROWS, strict=True)]
        return pa.table(arrays, schema=ROWS)


def _offsets(part: PartPlan, plan: Layout | None) -> tuple[Int64s, Int64s]:
    """Return where each file and its content begins, the end being one more file.

    Without a package the files are laid side by side, and inherited ones take no room: they are not
    read.
    """
    if plan is not None:
        return np.append(plan.header_offsets, plan.directory_offset), plan.data_offsets
    sizes = np.asarray(part.rows["size"], np.int64)
    is_local = np.asarray(part.rows["modified"].is_valid())
    starts = np.concatenate(([0], np.cumsum(np.where(is_local, sizes, 0), dtype=np.int64)))
    return starts, starts[:-1]


def _digests(column: pa.ChunkedArray) -> bytearray:
    """Return a column of 32-byte values as they lie side by side, zeros where there is none."""
    return bytearray(b"".join(value or bytes(32) for value in column.to_pylist()))


def _binaries(digests: bytearray) -> pa.Array:
    """Return 32-byte values as an Arrow column without copying them."""
    return pa.Array.from_buffers(pa.binary(32), len(digests) // 32, [None, pa.py_buffer(digests)])
