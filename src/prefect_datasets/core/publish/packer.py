"""The process that lists and packs files for a publish, with as few imports as that takes.

A message is `(what, fields)` as marshal writes it (`order`):

    FILL     place in the shared memory, batch     what `fill.fill` returns
    WRITE    file, place in it, size, batch        what `fill.write` returns
    LIST     directory                             what `walk.walk` returns

The answer begins with `DONE`, and that follows likewise; or with `RAISED`, and the error follows,
pickled; or it is `FAILED`.
"""

from __future__ import annotations

import marshal

from prefect_datasets.core.errors import DatasetError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FILL, WRITE, LIST = range(3)

DONE = b"="
RAISED = b"!"
FAILED = b"?"


def order(what: int, *fields: Any) -> bytes:
    """Return the message that says what to do."""
    return marshal.dumps((what, fields))


def read_answer(answer: bytes) -> Any:
    """Return what was done, None if it could not be done; raises what was raised."""
    if answer[:1] == RAISED:
        import pickle  # noqa: PLC0415  once, if ever

        raise pickle.loads(answer[1:])  # noqa: S301  from our child
    return marshal.loads(answer[1:]) if answer[:1] == DONE else None  # noqa: S302  likewise


def answer(message: bytes, memory: memoryview) -> bytes:
    """Do what a message says."""
    what, fields = marshal.loads(message)  # noqa: S302  from the parent
    try:
        return DONE + marshal.dumps(_DOES[what](memory, *fields))
    except DatasetError as error:
        import pickle  # noqa: PLC0415  once, if ever

        return RAISED + pickle.dumps(error)
    except OSError:  # whoever asked does it now, and fails with the very error
        return FAILED


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
