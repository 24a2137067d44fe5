"""The process that lists and packs files for a publish, with as few imports as that takes.

A message is `(what, fields)` as marshal writes it (`order`):

    FILL     place in the shared memory, batch     what `fill.fill` returns
    WRITE    file, place in it, size, batch        what `fill.write` returns
    LIST     directory                             what `walk.walk` returns

The answer is that, None where it could not be done, or the error (`core.processes`).
"""

from __future__ import annotations

import marshal

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.processes import done, raised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FILL, WRITE, LIST = range(3)


def order(what: int, *fields: Any) -> bytes:
    """Return the message that says what to do."""
    return marshal.dumps((what, fields))


def answer(message: bytes, memory: memoryview) -> bytes:
    """Do what a message says."""
    what, fields = marshal.loads(message)  # noqa: S302  from the parent
    try:
        return done(_DOES[what](memory, *fields))
    except DatasetError as error:
        return raised(error)
    except OSError:  # whoever asked does it now, and fails with the very error
        return done(None)


def _fill(memory: memoryview, start: int, end: int, *batch: Any) -> tuple[Any, ...]:
    from prefect_datasets.core.publish.fill import Batch, fill  # noqa: PLC0415  not to list

    return tuple(fill(memory[start:end], Batch(*batch)))


def _write(_: memoryview, file: str, offset: int, n_bytes: int, *batch: Any) -> tuple[Any, ...]:
    from prefect_datasets.core.publish.fill import Batch, write  # noqa: PLC0415  not to list

    return tuple(write(file, offset, n_bytes, Batch(*batch)))


def _list(_: memoryview, root: bytes) -> tuple[Any, ...]:
    from prefect_datasets.core.metadata.walk import walk  # noqa: PLC0415  not to pack

    chunks, *others = walk(root)
    return [tuple(chunk) for chunk in chunks], *others


_DOES: dict[int, Callable[..., tuple[Any, ...]]] = {FILL: _fill, WRITE: _write, LIST: _list}
