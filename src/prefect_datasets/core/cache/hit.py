"""A version that is in the cache, found by a few system calls and with few imports.

What `resolve_version` finds first as well, in terms of paths and texts: for a command line, whose
time is that of the interpreter's start and of what it imports.
"""

from __future__ import annotations

import os

from prefect_datasets.core.cache import lease_file
from prefect_datasets.core.small_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1
VERSIONS = "versions"


def pointer(root: str, store: str, dataset: str, version: str) -> str:
    """Return the file that says which digest a version of a store has."""
    return f"{root}/pointers/{store}/{dataset}/{version}.json"


def tree_name(version: str, digest: str) -> str:
    """Return the name of a whole version's tree in the group of its dataset."""
    return f"{version}-{digest[:16]}"


def find(
    root: str, store: str, dataset: str, version: str, *, stamp: str, until: float
) -> tuple[str, dict[str, Any]] | None:
    """Lease a whole version's tree; return its folder of files, and what `ready` says of it.

    None where there is more to it than that: the tree is not here, or not to be trusted unseen.

    Args:
        root: The cache.
        store: The store's identity.
        dataset: Name of the dataset.
        version: Name of the version, no alias.
        stamp: What its record looks like now, where that can be looked at for nothing.
        until: How long the lease holds in any case: seconds since 1970.
    """
    try:
        pointed = _read(pointer(root, store, dataset, version))
        if pointed["stamp"] != stamp:
            return None
        folder = f"{root}/{VERSIONS}/{dataset}/{tree_name(version, pointed['digest'])}"
        holder = _lease(folder, until)
        ready = _read(f"{folder}/ready")
        is_known = ready["format"] == FORMAT and ready["digest"] == pointed["digest"]
        is_of_earlier_boot = ready["host"] == holder["host"] and ready["boot"] != holder["boot"]
        is_told = ready["n_files"] >= 0 <= ready["n_bytes"]
        if not (is_known and is_told) or is_of_earlier_boot or not os.path.isdir(f"{folder}/files"):  # noqa: PTH112
            return None
        os.utime(f"{folder}/ready")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return f"{folder}/files", ready


def _read(path: str) -> dict[str, Any]:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (pathlib is one of those imports)
        return loads(file.read())


def _lease(folder: str, until: float) -> dict[str, str | int]:
    """Write this process's lease on a tree and return what it says of the process."""
    pid = os.getpid()
    holder = lease_file.holder_of(pid)
    name = lease_file.name_of(str(holder["host"]), pid, str(holder["started"]))
    lease_file.write(f"{folder}/leases/{name}", holder, until=until)
    return holder
