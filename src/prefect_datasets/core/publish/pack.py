"""Publish one part: build its package in pieces, several at a time, and tell its rows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from prefect_datasets.core.columns import Int64s, codes, is_valid, numbers, one_array
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.package import Layout, directory, layout
from prefect_datasets.core.processes import n_processors
from prefect_datasets.core.publish.ahead import MAX_PROCESSES
from prefect_datasets.core.publish.large import build_large
from prefect_datasets.core.publish.packers import Packers
from prefect_datasets.core.publish.pieces import Pieces
from prefect_datasets.core.publish.plan_pieces import (
    CopyPiece,
    Group,
    Run,
    Sizes,
    find_runs,
    plan_pieces,
)
from prefect_datasets.core.store import Range

if TYPE_CHECKING:
    from prefect_datasets.core.progress import Progress
    from prefect_datasets.core.publish.plan_version import PartPlan
    from prefect_datasets.core.store import Store, Upload

# Pieces on their way to the store; they wait for it most of the time.
_N_SENDERS = 4
# Processes take 50 ms to start, in which a thread reads so many small files.
_LEAST_FILES = 3_000
_NO_MEMORY = memoryview(b"")
# Pieces of a part without a package: only how much is read before it is sent.
_LOOSE_SIZES = Sizes(piece_bytes=16 << 20, min_piece_bytes=1)


def store_part(
    part: PartPlan, *, store: Store, progress: Progress, key: str | None = None
) -> pa.Table:
    """Store the files of a part, and its package if it is packaged; return its rows (`ROWS`).

    Args:
        part: The part.
        store: Where to.
        progress: Is told.
        key: Key of the package; left out, that of the part's.

    Raises:
        SourceChangedError: A local file is not what it was when it was listed.
        StoreError: The store failed; what was stored is found by the next attempt.
    """
    if not part.is_packaged:
        pieces = Pieces(part, store, upload=None, plan=None)
        _build_all(pieces, plan_pieces(pieces.starts, (), _LOOSE_SIZES), progress)
        return pieces.outcome.rows(None, pieces.data)
    plan = layout(part.rows["path"], part.rows["size"])
    key = key or _package_key(part)
    with store.upload(key, plan.n_bytes) as upload:
        pieces = Pieces(part, store, upload=upload, plan=plan)
        sizes = Sizes(upload.piece_bytes, upload.min_piece_bytes)
        planned = plan_pieces(pieces.starts, _runs(pieces, upload, sizes), sizes)
        _build_all(pieces, planned, progress)
        _send_directory(pieces, upload, plan, planned)
        upload.complete()
    return pieces.outcome.rows(key, pieces.data)


def _package_key(part: PartPlan) -> str:
    assert part.uri is not None, "files in no version have no package"
    return keys.package_key(part.execution, part.uri, part.index, part.n_parts)


def _runs(pieces: Pieces, upload: Upload, sizes: Sizes) -> list[Run]:
    """Find what the store can copy from packages of the base."""
    rows = pieces.part.rows
    if not upload.can_copy or rows["package"].null_count == rows.num_rows:
        return []
    stored = one_array(rows["package"]).dictionary_encode()
    packages = codes(stored.indices).astype(np.int64)
    packages[pieces.source.is_local] = -1
    stored_at: Int64s = np.where(is_valid(rows["offset"]), numbers(rows["offset"]), 0)
    headers = pieces.data - pieces.starts[:-1]
    return find_runs(
        pieces.starts,
        packages,
        stored_at - headers,
        stored.dictionary.to_pylist(),
        least_bytes=2 * sizes.min_piece_bytes,
    )


def _send_directory(
    pieces: Pieces, upload: Upload, plan: Layout, planned: Sequence[CopyPiece | Group]
) -> None:
    rows = pieces.part.rows
    tail = directory(rows["path"], rows["size"], pieces.outcome.crc32s, pieces.starts[:-1])
    last = planned[-1] if planned else None
    if isinstance(last, Group) and pieces.tail is not None:
        upload.piece(last.index + len(last.cuts) - 2, last.cuts[-2], [pieces.tail, tail])
    else:
        upload.piece(last.index + 1 if last else 0, plan.directory_offset, tail)


# -- all pieces


def _build_all(pieces: Pieces, planned: Sequence[CopyPiece | Group], progress: Progress) -> None:
    """Build and send all pieces, several at a time, in the order in which they begin."""
    whole = [piece for piece in planned if isinstance(piece, Group) and len(piece.cuts) == 2]
    n_files = sum(piece.end - piece.first for piece in whole)
    wants_processes = n_files >= _LEAST_FILES and pieces.part.origin is None
    n_processes = min(n_processors(), MAX_PROCESSES) if wants_processes else 0
    n_threads = min(_N_SENDERS + n_processes, max(len(planned), 1))
    largest = max((piece.cuts[1] - piece.cuts[0] for piece in whole), default=1)
    with Packers(n_processes, n_threads, largest) as packers:
        work = partial(_build, pieces, packers, progress)
        with ThreadPoolExecutor(n_threads, "publish") as pool:
            futures = [pool.submit(work, one, is_last=one is planned[-1]) for one in planned]
            _wait(pieces, futures)


def _wait(pieces: Pieces, futures: Sequence[Future[None]]) -> None:
    """Wait for all; an error, or Ctrl-C, ends what has not begun."""
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    except BaseException:
        pieces.turn.give_up()
        for future in futures:
            future.cancel()
        raise


def _build(
    pieces: Pieces,
    packers: Packers,
    progress: Progress,
    piece: CopyPiece | Group,
    *,
    is_last: bool,
) -> None:
    if isinstance(piece, CopyPiece):
        _copy(pieces, piece)
        first, end = np.searchsorted(pieces.starts, (piece.offset, piece.offset + piece.n_bytes))
        progress.advance(n_files=int(end - first), n_bytes=piece.n_bytes)
        return
    if len(piece.cuts) == 2:
        _build_whole(pieces, packers, piece, is_last=is_last)
    else:
        build_large(pieces, piece, is_last=is_last)
    n_bytes = int(pieces.source.sizes[piece.first : piece.end].sum())
    progress.advance(n_files=piece.end - piece.first, n_bytes=n_bytes)


def _copy(pieces: Pieces, piece: CopyPiece) -> None:
    assert pieces.upload is not None
    with pieces.turn.of(piece.index):
        source = Range(piece.key, piece.start, piece.n_bytes)
        pieces.upload.copy(piece.index, piece.offset, source)


def _build_whole(pieces: Pieces, packers: Packers, group: Group, *, is_last: bool) -> None:
    """Build a piece of whole files."""
    base, end = group.cuts
    members = np.arange(group.first, group.end)
    if pieces.upload is not None and pieces.go_to_file(members):
        write = partial(packers.write, pieces.upload, group.index, base, end - base)
        pieces.fill(_NO_MEMORY, base, members, write)
        return
    with packers.buffer() as buffer:
        view = buffer.view[: end - base]
        pieces.fill(view, base, members, partial(packers.fill, buffer, end - base))
        pieces.store_files(view, base, members)
        pieces.send(group.index, base, view, is_last=is_last)
