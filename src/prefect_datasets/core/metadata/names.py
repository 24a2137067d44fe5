"""Names of files: which of them can be published, and which are each other's twins.

What can be asked of all names of a folder at once is asked of one text with all of them, "/"
between them; a name by itself is looked at only where something is odd about one. Paths are bytes.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A key on S3 and GCS has 1024 bytes at most, and the path is the end of one.
MAX_PATH_BYTES = 900

_ASCII_CONTROLS = bytes([*range(0x20), 0x7F])
_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f]")


def shown(path: bytes) -> str:
    """Return a path for a message: quoted, anything that can't be printed escaped."""
    return repr(path.decode(errors="backslashreplace").rstrip("/"))


def faulty_names(path: bytes, names: Sequence[bytes], text: bytes) -> frozenset[bytes]:
    """Return the names in a folder that no store can keep; `text` is all of them."""
    longest = MAX_PATH_BYTES - len(path)
    if _is_clean(path) and _is_clean(text) and len(max(names, key=len, default=b"")) <= longest:
        return frozenset()
    return frozenset(
        name for name in names if len(name) > longest or fault_in_name(path + name) is not None
    )


def _is_clean(text: bytes) -> bool:
    """Tell whether a text of names is UTF-8 without control characters."""
    if text.isascii():
        return len(text.translate(None, _ASCII_CONTROLS)) == len(text)
    return fault_in_name(text) is None


def fault_in_name(path: bytes) -> str | None:
    """Return what is wrong with a path's letters, or None."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return "its name is not UTF-8"
    return "its name has a control character" if _CONTROLS.search(text) else None


def find_twins(names: Sequence[bytes], text: bytes) -> Iterator[list[bytes]]:
    """Yield names that one file system keeps apart and another takes for the same.

    Args:
        names: All names in a folder.
        text: All of them, "/" between them.
    """
    if text.isascii() and text == text.lower():
        return
    fold = bytes.lower if text.isascii() else _fold
    if len(set(map(hash, map(fold, names)))) == len(names):
        return
    groups: dict[bytes, list[bytes]] = {}
    for name in names:
        groups.setdefault(fold(name), []).append(name)
    yield from (group for group in groups.values() if len(group) > 1)


def _fold(name: bytes) -> bytes:
    """Return what a file system that folds case and normalises letters makes of a name."""
    if name.isascii():
        return name.lower()
    text = name.decode(errors="surrogateescape")
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return folded.encode(errors="surrogateescape")
