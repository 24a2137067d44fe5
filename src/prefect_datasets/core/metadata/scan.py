"""Which files lie in a directory: a table in path order, or one error that names all it refuses.

A directory is walked once, in the order of the paths' bytes: entries of a folder are sorted with a
"/" behind the names of folders, so that the walk itself yields sorted paths and no million names
are ever held and sorted at the end.

Metadata files are told apart here (docs/metadata.md): they are no files of a version.
"""

from __future__ import annotations

import json
import os
import stat
import unicodedata
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format.rows import LISTING

if TYPE_CHECKING:
    from collections.abc import Iterator

METADATA_FILE = "valohai.metadata.jsonl"
SIDECAR_SUFFIX = ".metadata.json"

# A key on S3 and GCS has 1024 bytes at most, and the path is the end of one.
MAX_PATH_BYTES = 900

_NAMED_AT_MOST = 20
_ROWS_AT_ONCE = 65536
_MAX_SIDECAR_BYTES = 1 << 20  # a larger file of that name, without the file it names, is data
_READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_JSONL = METADATA_FILE.encode()
_SUFFIX = SIDECAR_SUFFIX.encode()
UNFINISHED_PREFIX = f".{METADATA_FILE}."  # what a killed `write_metadata` leaves behind


@dataclass(frozen=True, slots=True)
class Scan:
    """The files of a directory.

    Attributes:
        root: The directory.
        listing: Its files, without metadata files: a `LISTING` table in path order. A link counts
            as the file it names.
        metadata_paths: Metadata files, relative to `root`, in path order.
        warnings: What the user should know, one line each.
    """

    root: Path
    listing: pa.Table
    metadata_paths: tuple[str, ...]
    warnings: tuple[str, ...]


def scan(root: Path) -> Scan:
    """List the files below `root`; none at all is no error.

    Raises:
        InvalidInputError: `root` is no directory, or holds something that can't be published: all
            such names are listed.
    """
    check_directory(root)
    walk = _Walk(os.fsencode(root))
    walk.run()
    paths = walk.finished_paths()
    if walk.refused:
        raise _refusal(root, walk.refused)
    columns = [paths, _int64(walk.sizes), _int64(walk.modified)]
    return Scan(
        root=root,
        listing=pa.Table.from_arrays(columns, schema=LISTING),
        metadata_paths=tuple(path.decode() for path in sorted(walk.metadata)),
        warnings=tuple(walk.warnings),
    )


def check_directory(root: Path) -> None:
    """Raise `InvalidInputError` unless `root` is a directory."""
    if root.is_dir():
        return
    what = "Not a directory" if root.exists() else "No such directory"
    raise InvalidInputError(what, subject=str(root), hint="Name the directory with the files.")


@dataclass(slots=True)
class _Walk:
    """One walk through a directory, all paths relative to it and in bytes."""

    root: bytes
    sizes: array[int] = field(default_factory=lambda: array("q"))
    modified: array[int] = field(default_factory=lambda: array("q"))
    metadata: list[bytes] = field(default_factory=list[bytes])
    warnings: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])
    _real_root: bytes = b""
    _paths: list[bytes] = field(default_factory=list[bytes])
    _chunks: list[pa.Array] = field(default_factory=list[pa.Array])

    def run(self) -> None:
        """Walk, filling all fields."""
        self._real_root = os.path.realpath(self.root)
        self.root += b"" if self.root.endswith(b"/") else b"/"
        stack: list[tuple[bytes, Iterator[bytes]]] = [(b"", self._names_in(b""))]
        while stack:
            folder, names = stack[-1]
            if (below := self._take_files(folder, names)) is None:
                stack.pop()
            else:
                stack.append((below, self._names_in(below)))

    def finished_paths(self) -> pa.ChunkedArray:
        """Return the paths of all files."""
        self._flush()
        return pa.chunked_array(self._chunks, pa.string())

    def refuse(self, path: bytes, reason: str) -> None:
        """Note a name that can't be published, and why."""
        self.refused.append(f"{_shown(path)}: {reason}")

    def _take_files(self, folder: bytes, names: Iterator[bytes]) -> bytes | None:
        """Take the next files of a folder, up to the folder below it that comes next."""
        lstat, root = os.lstat, self.root + folder
        for name in names:
            if name.endswith(b"/"):
                return folder + name
            try:
                info = lstat(root + name)
                if stat.S_ISLNK(info.st_mode) and (info := self._linked(folder + name)) is None:
                    continue
            except FileNotFoundError:
                continue  # it went away meanwhile, as if the walk had come later
            self._take(folder + name, info)
        return None

    def _take(self, path: bytes, info: os.stat_result) -> None:
        mode = info.st_mode
        if not stat.S_ISREG(mode):
            return self.refuse(path, f"a {_kind(mode)}, not a file")
        if len(path) > MAX_PATH_BYTES:
            return self.refuse(path, f"its path has more than {MAX_PATH_BYTES} bytes")
        if mode & _READABLE != _READABLE and not _is_readable(self.root + path):
            return self.refuse(path, "can't be read with the rights of this process")
        self._paths.append(path)
        self.sizes.append(info.st_size)
        self.modified.append(info.st_mtime_ns)
        if len(self._paths) >= _ROWS_AT_ONCE:
            self._flush()
        return None

    def _names_in(self, folder: bytes) -> Iterator[bytes]:
        """Return the names in a folder in path order, "/" behind those of folders."""
        if len(folder) > MAX_PATH_BYTES:
            self.refuse(folder, f"its path has more than {MAX_PATH_BYTES} bytes")
            return iter(())
        try:
            with os.scandir(self.root + folder) as entries:
                names = [
                    entry.name + b"/" if entry.is_dir(follow_symlinks=False) else entry.name
                    for entry in entries
                ]
        except FileNotFoundError:
            return iter(())
        except OSError as error:
            self.refuse(folder, f"can't be listed ({error.strerror})")
            return iter(())
        names.sort()
        self._warn_of_twins(folder, names)
        return iter(self._without_metadata(folder, names))

    def _without_metadata(self, folder: bytes, names: list[bytes]) -> list[bytes]:
        """Return `names` without metadata files, which are noted."""
        found = {name for name in names if name.endswith(_SUFFIX)}
        if found:
            found = self._sidecars(folder, found, names)
        if not folder:
            found.update(name for name in (_JSONL,) if name in names)
            unfinished = UNFINISHED_PREFIX.encode()
            names = [name for name in names if not name.startswith(unfinished)]
        elif _JSONL in names:
            self.warnings.append(
                f"{_shown(folder + _JSONL)} does not lie in the root: it counts as a file, "
                "and nothing in it is read as metadata"
            )
        if not found:
            return names
        return [name for name in names if name not in found or not self._is_metadata(folder + name)]

    def _sidecars(self, folder: bytes, named_so: set[bytes], names: list[bytes]) -> set[bytes]:
        """Return those of `named_so` that are sidecars: beside their file, or saying so."""
        present = set(names)
        return {
            name
            for name in named_so
            if name[: -len(_SUFFIX)] in present or _declares(self.root + folder + name)
        }

    def _is_metadata(self, path: bytes) -> bool:
        """Note a metadata file; what only bears the name (a pipe, a link out) is refused."""
        try:
            info = os.lstat(self.root + path)
            if stat.S_ISLNK(info.st_mode) and (info := self._linked(path)) is None:
                return True
        except FileNotFoundError:
            return True
        if not stat.S_ISREG(info.st_mode):
            self.refuse(path, f"a {_kind(info.st_mode)}, not a file")
        elif (reason := _fault_in_name(path)) is not None:
            self.refuse(path, reason)
        else:
            self.metadata.append(path)
        return True

    def _linked(self, path: bytes) -> os.stat_result | None:
        """Return the file that a link names, or nothing where the link is refused."""
        try:
            target = os.path.realpath(self.root + path, strict=True)
            info = Path(os.fsdecode(target)).stat()
        except OSError as error:
            self.refuse(path, f"a link that leads nowhere ({error.strerror})")
            return None
        if os.path.commonpath([self._real_root, target]) != self._real_root:
            self.refuse(path, f"a link out of the directory, to {_shown(target)}")
            return None
        if stat.S_ISDIR(info.st_mode):
            self.refuse(path, "a link to a folder; copy the folder, or link its files one by one")
            return None
        return info

    def _warn_of_twins(self, folder: bytes, names: list[bytes]) -> None:
        """Warn of names that one file system keeps apart and another takes for the same."""
        folded = np.fromiter(map(hash, map(_fold, names)), np.int64, len(names))
        if len(np.unique(folded)) == len(names):
            return
        groups: dict[bytes, list[bytes]] = {}
        for name in names:
            groups.setdefault(_fold(name), []).append(name)
        for group in groups.values():
            if len(group) > 1:
                twins = " and ".join(_shown(folder + name) for name in group)
                self.warnings.append(
                    f"{twins} differ only in case or in how letters are encoded: they can't be "
                    "resolved where the file system takes them for the same name"
                )

    def _flush(self) -> None:
        """Move the collected paths into a chunk, refusing names that no store can keep."""
        raw = pa.array(self._paths, pa.binary())
        try:
            chunk = raw.cast(pa.string())
            faulty = bool(pc.any(pc.match_substring_regex(chunk, r"\p{Cc}")).as_py())
        except pa.ArrowInvalid:
            chunk, faulty = None, True
        if faulty:
            for path in self._paths:
                if (reason := _fault_in_name(path)) is not None:
                    self.refuse(path, reason)
        elif chunk is not None:
            self._chunks.append(chunk)
        self._paths.clear()


def _is_readable(path: bytes) -> bool:
    return os.access(path, os.R_OK, effective_ids=True)


def _fault_in_name(path: bytes) -> str | None:
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return "its name is not UTF-8"
    if any(unicodedata.category(character) == "Cc" for character in text):
        return "its name has a control character"
    return None


def _fold(name: bytes) -> bytes:
    """Return what a file system that folds case and normalises letters makes of a name."""
    if name.isascii():
        return name.lower()
    text = name.decode(errors="surrogateescape")
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return folded.encode(errors="surrogateescape")


def _declares(path: bytes) -> bool:
    """Tell whether a file without the file it is named after is metadata: it has valohai keys."""
    file = Path(os.fsdecode(path))
    try:
        info = file.stat()
        if not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_SIDECAR_BYTES:
            return False
        body = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    keys = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    return any(key.startswith("valohai.") for key in keys)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFDIR: "folder"}
    return kinds.get(stat.S_IFMT(mode), "device")


def _shown(path: bytes) -> str:
    """Return a path for a message: quoted, anything that can't be printed escaped."""
    return repr(path.decode(errors="backslashreplace").rstrip("/"))


def _refusal(root: Path, refused: list[str]) -> InvalidInputError:
    named = sorted(refused)[:_NAMED_AT_MOST]
    if len(refused) > _NAMED_AT_MOST:
        named.append(f"and {len(refused) - _NAMED_AT_MOST} more")
    return InvalidInputError(
        "Some names can't be published" if len(refused) > 1 else "A name can't be published",
        subject=str(root),
        hint="Rename, replace or remove:",
        faults=tuple(named),
    )


def _int64(values: array[int]) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])
