"""Build one piece of a part: read its files, store them, send it.

One read of a file goes into one buffer, which is the package's next piece and the body of the
file's own object, and is hashed on the way. Nothing is written to the local disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from prefect_datasets.core.columns import Int64s, is_valid, numbers
from prefect_datasets.core.format.local_header import pack_header_into
from prefect_datasets.core.publish.fill import Batch, Hashes
from prefect_datasets.core.publish.journal import Journal
from prefect_datasets.core.publish.outcome import Outcome
from prefect_datasets.core.publish.source import Source
from prefect_datasets.core.publish.turns import Turns

if TYPE_CHECKING:
    from prefect_datasets.core.format.package import Layout
    from prefect_datasets.core.publish.plan_version import PartPlan
    from prefect_datasets.core.store import Store, Upload


class Pieces:
    """What the pieces of a part have in common.

    Attributes:
        part: The part.
        store: Where it goes.
        upload: The upload of its package, or None if it has none.
        source: Its files.
        outcome: What they turned out to be.
        turn: Whose turn it is to send.
        starts: Where each file begins, with its header if there is a package; the end is one more.
        data: Where each file's content begins.
        tail: The last piece, which is sent with the directory.
    """

    def __init__(
        self, part: PartPlan, store: Store, *, upload: Upload | None, plan: Layout | None
    ) -> None:
        self.part, self.store, self.upload = part, store, upload
        self.source = Source(part, store)
        self.outcome = Outcome(part)
        self.turn = Turns(any_order=upload is None or upload.any_order)
        self.starts, self.data = _offsets(part, plan)
        self.tail: bytes | None = None
        self._journal = Journal(store, part.execution, part.uri, part.index)

    def go_to_file(self, members: Int64s) -> bool:
        """Tell whether these files can be written to the package where they are read."""
        if self.upload is None or self.upload.file is None or self.part.individual_files:
            return False
        return self.part.origin is None and bool(self.source.is_local[members].all())

    def fill(
        self,
        view: memoryview,
        base: int,
        members: Int64s,
        read: Callable[[Batch], Hashes],
    ) -> None:
        """Bring files and their headers to their places in a piece.

        Args:
            view: The piece.
            base: Its offset.
            members: The files.
            read: Does it for those of this machine.
        """
        is_local = self.source.is_local[members]
        local, stored = members[is_local], members[~is_local]
        if len(local):
            starts = self.starts[local] - base
            has_headers = self.upload is not None
            own = self.source.own
            found = own.fill(view, local, starts, has_headers=has_headers, read=read)
            self.outcome.note(local, found)
        if self.upload is not None and len(stored):
            for member, content in self.source.read_stored(stored.tolist()):
                at = int(self.data[member]) - base
                view[at : at + len(content)] = content
                self.write_header(view, base, member)

    def write_header(self, view: memoryview, base: int, member: int) -> None:
        """Write a file's header into a piece; its crc32 must be known."""
        if self.upload is not None:
            name, size = self.source.paths[member].encode(), int(self.source.sizes[member])
            at, crc32 = int(self.starts[member]) - base, int(self.outcome.crc32s[member])
            pack_header_into(view, at, name, size, crc32)

    def store_files(self, view: memoryview, base: int, members: Int64s) -> None:
        """Store the files of a piece that are not stored yet as objects of their own."""
        fresh = self.outcome.wants_objects(members)
        if not len(fresh):
            return
        begins = (self.data[fresh] - base).tolist()
        ends = (self.data[fresh] - base + self.source.sizes[fresh]).tolist()
        paths = [self.source.paths[int(member)] for member in fresh]
        cuts = zip(paths, begins, ends, strict=True)
        items = [(self.outcome.key(path), view[begin:end]) for path, begin, end in cuts]
        self.store.write_many(items)
        self.note_stored(fresh)

    def note_stored(self, members: Int64s) -> None:
        """Note that files have objects of their own now."""
        self._journal.add(self.outcome.note_stored(members))

    def send(self, index: int, offset: int, view: memoryview, *, is_last: bool) -> None:
        """Send a piece of the package, or keep it for the directory if it is the last."""
        if self.upload is None:
            return
        if is_last:
            self.tail = bytes(view)
            return
        with self.turn.of(index):
            self.upload.piece(index, offset, view)


def _offsets(part: PartPlan, plan: Layout | None) -> tuple[Int64s, Int64s]:
    """Return where each file and its content begins, the end being one more file.

    Without a package the files are laid side by side, and inherited ones take no room: they are not
    read.
    """
    if plan is not None:
        return np.append(plan.header_offsets, plan.directory_offset), plan.data_offsets
    sizes, is_local = numbers(part.rows["size"]), is_valid(part.rows["modified"])
    starts = np.concatenate(([0], np.cumsum(np.where(is_local, sizes, 0), dtype=np.int64)))
    return starts, starts[:-1]
