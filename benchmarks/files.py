"""The files that are published and fetched: shapes, random contents, a next version, a digest."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.contender import Files

FILES_PER_FOLDER = 500


@dataclass(frozen=True, slots=True)
class Shape:
    """How many files of which size in which folders.

    Attributes:
        n_files: Their number.
        n_bytes: Size of each.
        is_flat: All in one folder, else about 500 in each.
    """

    n_files: int
    n_bytes: int
    is_flat: bool = False

    @property
    def n_folders(self) -> int:
        """Number of folders."""
        return 1 if self.is_flat else max(4, self.n_files // FILES_PER_FOLDER)

    def __str__(self) -> str:
        """Write it for a title."""
        where = "in one folder" if self.is_flat else f"in {self.n_folders:,} folders"
        return f"{self.n_files:,} x {_size(self.n_bytes)} {where}"


def write_originals(root: Path, shape: Shape) -> Files:
    """Write files of random bytes, each time the same."""
    made = random.Random(7)
    per_folder = -(-shape.n_files // shape.n_folders)
    for number in range(shape.n_files):
        folder = root / f"class{number // per_folder:04}"
        if number % per_folder == 0:
            folder.mkdir(parents=True)
        _write(f"{folder}/image_{number:07}.jpg", made.randbytes(shape.n_bytes))
    return described(root)


def described(root: Path) -> Files:
    """Return what is to be known about the files below `root`."""
    sizes = [size for _, size in listed(root)]
    return Files(root, digest_of(root), len(sizes), sum(sizes))


def linked(source: Path, root: Path, n_files: int | None = None) -> Files:
    """Make a folder of hard links to the first files below `source`."""
    for path, _ in islice(listed(source), n_files):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source / path, target)
    return described(root)


def next_version(source: Path, root: Path) -> tuple[Files, int]:
    """Make the version after `source`: 1 % added, changed and removed, 5 % renamed.

    Returns:
        The files, and how many bytes are in none of the old ones.
    """
    made = random.Random(11)
    linked(source, root)
    paths = [path for path, _ in listed(source)]
    n = max(1, len(paths) // 100)
    chosen = made.sample(paths, 8 * n)
    n_bytes = 0
    for path in chosen[:n]:
        (root / path).unlink()
    for path in chosen[n : 2 * n]:
        size = (root / path).stat().st_size
        (root / path).unlink()
        _write(str(root / path), made.randbytes(size))
        _write(f"{root / path}.new", made.randbytes(size))
        n_bytes += 2 * size
    for path in chosen[2 * n : 7 * n]:
        (root / path).rename(f"{root / path}.renamed")
    return described(root), n_bytes


def digest_of(root: Path) -> str:
    """Return one digest over the paths and contents of all files below `root`."""
    root = root.resolve()

    def one(path: str) -> bytes:
        with open(f"{root}/{path}", "rb", buffering=0) as file:  # noqa: PTH123  (a million of them)
            return path.encode() + b"\0" + hashlib.sha256(file.read()).digest()

    whole = hashlib.sha256()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        paths = [path for path, _ in listed(root)]
        for digest in pool.map(one, paths, chunksize=100):
            whole.update(digest)
    return whole.hexdigest()


def listed(root: Path) -> Iterator[tuple[str, int]]:
    """Yield path and size of each file below `root`, folder by folder in order."""
    for folder, names, files in os.walk(root):
        names.sort()
        below = os.path.relpath(folder, root)
        for name in sorted(files):
            path = name if below == "." else f"{below}/{name}"
            yield path, os.lstat(f"{folder}/{name}").st_size


def disk_bytes(shape: Shape) -> int:
    """Return what the files occupy on a file system with blocks of 4 KiB."""
    return shape.n_files * -(-shape.n_bytes // 4096) * 4096


def write_list(root: Path, to: Path) -> None:
    """Write the list that `native/files.c` reads."""
    to.write_text("".join(f"{size} {path}\n" for path, size in listed(root)))


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", buffering=0) as file:  # noqa: PTH123  (a million of them)
        file.write(data)


def _size(n_bytes: int) -> str:
    for unit, factor in (("MB", 1_000_000), ("kB", 1_000)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes} B"
