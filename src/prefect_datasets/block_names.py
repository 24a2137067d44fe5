"""What saved blocks are called; nothing is imported here that takes time."""

from __future__ import annotations

import re

from prefect_datasets.core.errors import NotFoundError

BLOCK_TYPE = "dataset-store"  # its slug: saved blocks hang on it
DEFAULT_BLOCK = "default"  # where nobody names a store

# Prefect's own rule for names of block documents; a folder of such a name is written ./name.
_NAME = re.compile(rf"(?:{BLOCK_TYPE}/)?(?P<name>[a-z0-9-]+)")


def block_name_in(store: str) -> str | None:
    """Return the name of the saved block that is meant; None where it is a URL or a path."""
    match = _NAME.fullmatch(store)
    return match["name"] if match else None


def no_such_block(name: str) -> NotFoundError:
    """Return the error that no block has been saved under the name."""
    return NotFoundError(
        "No saved block DatasetStore has the name",
        subject=name,
        hint=f"Save one in the Prefect UI; for a folder of that name write ./{name}.",
    )
