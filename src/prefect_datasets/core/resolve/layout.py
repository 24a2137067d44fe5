"""Where the files of several trees go in one folder: purely, before any is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from prefect_datasets.core.errors import InvalidInputError

KeepDirectories = Literal["full", "suffix", "none"]


def lay_out(
    sources: Iterable[tuple[str, Iterable[str], Callable[[str], str]]],
) -> list[dict[str, str]]:
    """Return for each source which path in the folder each of its paths gets.

    Args:
        sources: For each its name, its paths, and what makes a path in the folder of one.

    Raises:
        InvalidInputError: Two files would be one, or a file and a folder; both are named.
    """
    taken: dict[str, str] = {}
    placed: list[dict[str, str]] = []
    for name, paths, place in sources:
        here = {path: place(path) for path in paths}
        for path, new in here.items():
            if (other := taken.setdefault(new, f"{name} {path}")) != f"{name} {path}":
                raise _collision(new, other, f"{name} {path}")
        placed.append(here)
    _check_folders(taken)
    return placed


def _check_folders(taken: dict[str, str]) -> None:
    """See that no file has the name of a folder that another needs."""
    for path, source in taken.items():
        folder = path.rpartition("/")[0]
        while folder:
            if folder in taken:
                raise _collision(folder, taken[folder], source)
            folder = folder.rpartition("/")[0]


def _collision(path: str, first: str, second: str) -> InvalidInputError:
    return InvalidInputError(
        f"Two files would both be {path!r}: {first} and {second}",
        subject=path,
        hint="Keep the folders with keep-directories full, or take them as two inputs.",
    )


def base_name(path: str) -> str:
    """Return a path without its folders."""
    return path.rpartition("/")[2]


def unchanged(path: str) -> str:
    """Return a path as it is."""
    return path
