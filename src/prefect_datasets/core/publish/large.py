"""Build the pieces of a group that ends with a file too large for one.

The file's header stands in the first piece and needs its crc32: the first piece is sent last, or,
where the store takes pieces in order only, the file is read once more beforehand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from prefect_datasets.core.checksum import crc32_of
from prefect_datasets.core.publish.fill import fill

if TYPE_CHECKING:
    from prefect_datasets.core.publish.pieces import Pieces
    from prefect_datasets.core.publish.plan_pieces import Group


def build_large(pieces: Pieces, group: Group, *, is_last: bool) -> None:
    """Build and send the pieces of a group; `is_last` if no other piece follows."""
    member, base = group.end - 1, group.cuts[0]
    first = memoryview(bytearray(group.cuts[1] - base))
    before = np.arange(group.first, member)
    pieces.fill(first, base, before, lambda batch: fill(first, batch))
    pieces.store_files(first, base, before)
    is_known = _hash_beforehand(pieces, member)
    begin = int(pieces.data[member]) - base
    for number, chunk in enumerate(_chunks(pieces, group, is_known=is_known)):
        if number:
            is_tail = is_last and number == len(group.cuts) - 2
            pieces.send(group.index + number, group.cuts[number], chunk, is_last=is_tail)
            continue
        first[begin:] = chunk
        if is_known:
            _send_first(pieces, group, first)
    if not is_known:
        _send_first(pieces, group, first)


def _send_first(pieces: Pieces, group: Group, first: memoryview) -> None:
    pieces.write_header(first, group.cuts[0], group.end - 1)
    pieces.send(group.index, group.cuts[0], first, is_last=False)


def _hash_beforehand(pieces: Pieces, member: int) -> bool:
    """Find out a large file's digest before it is sent, where that is needed or known."""
    source = pieces.source
    if not source.is_local[member]:
        return True
    if pieces.turn.any_order and source.sha256s[member] is None:
        return False
    pieces.outcome.note_one(member, *source.hash_own(member))
    return True


def _chunks(pieces: Pieces, group: Group, *, is_known: bool) -> Iterator[memoryview]:
    """Yield a large file in the chunks of its group's pieces; store and hash it meanwhile."""
    member = group.end - 1
    begins = [int(pieces.data[member]), *group.cuts[1:]]
    sizes = [end - begin for begin, end in pairwise(begins)]
    if not pieces.source.is_local[member]:
        if pieces.upload is not None:
            yield from pieces.source.stored_chunks(member, sizes)
        return
    chunks = _hashed(pieces, member, sizes, is_known=is_known)
    wants_object = pieces.part.individual_files
    if is_known:
        wants_object = len(pieces.outcome.wants_objects(np.array([member]))) > 0
    yield from _stored(pieces, member, chunks) if wants_object else chunks


def _hashed(
    pieces: Pieces, member: int, sizes: list[int], *, is_known: bool
) -> Iterator[memoryview]:
    sha256, crc32 = hashlib.sha256(), 0
    for chunk in pieces.source.own.chunks(member, sizes):
        sha256.update(chunk)
        crc32 = crc32_of(chunk, crc32)
        yield chunk
    if is_known and sha256.digest() != pieces.outcome.digest_of(member):
        raise pieces.source.own.changed(member)
    pieces.outcome.note_one(member, sha256.digest(), crc32)


def _stored(pieces: Pieces, member: int, chunks: Iterator[memoryview]) -> Iterator[memoryview]:
    """Pass chunks on and store the file as an object of its own."""
    offset, n_bytes = 0, int(pieces.source.sizes[member])
    key = pieces.outcome.key(pieces.source.paths[member])
    with pieces.store.upload(key, n_bytes) as upload:
        for number, chunk in enumerate(chunks):
            upload.piece(number, offset, chunk)
            offset += len(chunk)
            yield chunk
        upload.complete()
    pieces.note_stored(np.array([member]))
