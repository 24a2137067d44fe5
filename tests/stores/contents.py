"""What the tests of stores put into them, and how they look at what is there."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from prefect_datasets.core.store import Store

MIB = 1 << 20

ODD_PATHS = [
    "spaces in it.txt",
    "ünïcödé/日本語.txt",
    "e\u0301 and \u00e9",
    "plus+and=and&and?and#.txt",
    "per%20cent%2F.txt",
    "back\\slash",
    "co:lon",
    "star*[0-9]{a,b}",
    "quote'\"`",
    "<tag>|pipe^~",
    "tab\tand\nnewline",
    " leading",
    "trailing ",
    "trailing.",
    ".hidden",
    "...",
    ".@tmp-like-ours",
    "deep/" * 20 + "file",
    "long-" * 48 + "name",
    "\u00a0nbsp\u2028line\ufeff",
    "@at/$dollar,comma;semi!bang()",
    "(1).txt",
]


def spread(n_bytes: int, seed: int = 1) -> bytes:
    """Return bytes that repeat nowhere, the same for the same seed."""
    return random.Random(seed).randbytes(n_bytes)


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Run all acts at the same moment; return what each returned or raised."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return act()
        except Exception as error:  # noqa: BLE001 - the error is the result
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def sizes_of(store: Store) -> tuple[int, int]:
    """Return the usual and the smallest size of a piece."""
    with store.upload("sizes", 0) as upload:
        upload.abort()
        return upload.piece_bytes, upload.min_piece_bytes


def keys(store: Store, prefix: str = "") -> list[str]:
    return sorted(found.key for found in store.list(prefix))
