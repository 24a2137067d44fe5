"""The process that writes and links files for a resolve, with as few imports as that takes.

A message is `(root, what, fields)` as marshal writes it. The answer begins with `DONE`, and
`(numbers, made)` follow likewise: which of the files are damaged, or have no source any more, and
which folders were made; or it begins with `RAISED`, and the error follows, pickled.
"""

from __future__ import annotations

import marshal

from prefect_datasets.core.cache.folders import Folders
from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.resolve.link import link_files
from prefect_datasets.core.resolve.write_files import Contents, write_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WRITE = "write"
LINK = "link"

DONE = b"="
RAISED = b"!"

_MADE: set[str] = set()
_TARGETS: dict[str, Folders] = {}
_SOURCES: dict[str, Folders] = {}


def answer(message: bytes, memory: memoryview) -> bytes:
    """Do what a message says, with files that lie in the shared memory."""
    root, what, fields = marshal.loads(message)  # noqa: S302  from the parent
    try:
        numbers = _write(root, memory, *fields) if what == WRITE else _link(root, *fields)
    except (DatasetError, OSError) as error:
        import pickle  # noqa: PLC0415  once, if ever

        return RAISED + pickle.dumps(error)
    made = sorted(_MADE)
    _MADE.clear()
    return DONE + marshal.dumps((numbers, made))


def _write(root: str, memory: memoryview, first: int, end: int, *columns: Any) -> list[int]:
    return write_files(Contents(*columns), memory[first:end], _target(root), root)


def _link(root: str, source: str, old: list[str], new: list[str]) -> list[int]:
    if source not in _SOURCES:
        _SOURCES[source] = Folders(source)
    return link_files(zip(old, new, strict=True), _SOURCES[source], _target(root), root)


def _target(root: str) -> Folders:
    if root not in _TARGETS:
        _TARGETS[root] = Folders(root, make=True, made=_MADE)
    return _TARGETS[root]
