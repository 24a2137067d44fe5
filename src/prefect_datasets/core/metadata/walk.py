"""A walk through a directory, in the order of the paths' bytes.

The names of a folder are sorted as they come behind each other in paths, so that the walk itself
yields sorted paths and no million names are ever sorted at the end. A name by itself is looked at
only where something is odd about it.

Only the standard library is imported here.
"""

from __future__ import annotations

import os
import stat
from array import array
from bisect import bisect_left
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple, cast

from prefect_datasets.core.metadata.names import (
    MAX_PATH_BYTES,
    fault_in_name,
    faulty_names,
    find_twins,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

METADATA_FILE = "valohai.metadata.jsonl"
SIDECAR_SUFFIX = ".metadata.json"
UNFINISHED_PREFIX = f".{METADATA_FILE}."  # what a killed `write_metadata` leaves behind

_CHUNK_ROWS = 65536
_STATS_AT_ONCE = 4096  # a status has half a kilobyte
MAX_SIDECAR_BYTES = 1 << 20  # a larger file of that name, without the file it names, is data
_READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_JSONL = METADATA_FILE.encode()
_SUFFIX = SIDECAR_SUFFIX.encode()
_UNFINISHED = UNFINISHED_PREFIX.encode()
TOO_LONG = f"its path has more than {MAX_PATH_BYTES} bytes"
_GONE = os.stat_result((0,) * os.stat_result.n_fields)


class Chunk(NamedTuple):
    """Files that follow each other in path order.

    Attributes:
        paths: Their paths, one right after the other.
        lengths: The length of each path.
        sizes: Size of each file.
        modified: Time of its last change (`st_mtime_ns`).
    """

    paths: bytes
    lengths: array[int]
    sizes: array[int]
    modified: array[int]


class Walked(NamedTuple):
    """What a walk found; all paths are relative to the root.

    Attributes:
        chunks: The files.
        metadata: Metadata files.
        warnings: What the user should know.
        refused: Names that can't be published, and why.
    """

    chunks: list[Chunk]
    metadata: list[bytes]
    warnings: list[str]
    refused: list[str]


class _Folder:
    """A folder on the way.

    Attributes:
        path: Relative to the root, with "/" behind it; empty for the root itself.
        names: Names of the files to take, sorted.
        sizes: Their sizes.
        modified: Their times.
        below: Folders in it, the next one last: number of files before it, and its name with "/".
        n_taken: How many of the files were taken.
    """

    def __init__(self, path: bytes, names: list[bytes]) -> None:
        self.path = path
        self.names = names
        self.sizes = array("q")
        self.modified = array("q")
        self.below: list[tuple[int, bytes]] = []
        self.n_taken = 0


def walk(root: bytes) -> Walked:
    """Walk through the directory `root`."""
    walking = Walk(root)
    chunks = list(walking.chunks())
    return Walked(chunks, walking.metadata, walking.warnings, walking.refused)


class Walk:
    """One walk; all paths are relative to the root and in bytes.

    Attributes:
        metadata: Metadata files, found so far.
        warnings: What the user should know.
        refused: Names that can't be published, and why.
    """

    def __init__(self, root: bytes) -> None:
        self.metadata: list[bytes] = []
        self.warnings: list[str] = []
        self.refused: list[str] = []
        self._real_root = os.path.realpath(root)
        self._root = root if root.endswith(b"/") else root + b"/"
        self._user = os.geteuid()
        self._plain_modes: set[int] = set()
        self._clear()

    def chunks(self) -> Iterator[Chunk]:
        """Yield all files; to be called once."""
        stack = [self._open(b"")]
        while stack:
            folder = stack[-1]
            before, name = folder.below.pop() if folder.below else (len(folder.names), b"")
            yield from self._take(folder, before)
            if name:
                stack.append(self._open(folder.path + name))
            else:
                stack.pop()
        yield self._chunk()

    # -- collecting

    def _clear(self) -> None:
        self._paths: list[bytes] = []
        self._lengths, self._sizes, self._modified = array("i"), array("q"), array("q")

    def _take(self, folder: _Folder, end: int) -> Iterator[Chunk]:
        """Take the files of a folder up to number `end`; yield what is full then."""
        while folder.n_taken < end:
            some = slice(folder.n_taken, min(end, folder.n_taken + _CHUNK_ROWS))
            names, n_before = folder.names[some], len(folder.path)
            self._paths.append(folder.path + folder.path.join(names))
            self._lengths.extend([n_before + len(name) for name in names])
            self._sizes.extend(folder.sizes[some])
            self._modified.extend(folder.modified[some])
            folder.n_taken = some.stop
            if len(self._sizes) >= _CHUNK_ROWS:
                yield self._chunk()

    def _chunk(self) -> Chunk:
        chunk = Chunk(b"".join(self._paths), self._lengths, self._sizes, self._modified)
        self._clear()
        return chunk

    # -- a folder

    def _open(self, path: bytes) -> _Folder:
        """Look at all that lies in a folder."""
        names = self._names_in(path)
        text = b"/".join(names)
        self._warn_of_twins(path, find_twins(names, text))
        if _SUFFIX in text:
            names = self._without_metadata(path, names)
        folder = _Folder(path, names)
        if odd := self._look(folder, faulty_names(path, names, text)):
            self._settle(folder, odd)
        return folder

    def _names_in(self, path: bytes) -> list[bytes]:
        """Return all names in a folder, sorted."""
        if len(path) > MAX_PATH_BYTES:
            self._refuse(path, TOO_LONG)
            return []
        try:
            return sorted(os.listdir(self._root + path))  # noqa: PTH208  (bytes)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._refuse(path, f"can't be listed ({error.strerror})")
            return []

    def _look(self, folder: _Folder, faulty: frozenset[bytes]) -> dict[int, os.stat_result]:
        """Fill in sizes and times, and return the status of what is not plainly a file to take."""
        odd: dict[int, os.stat_result] = {}
        at, plain = self._root + folder.path, self._plain_modes
        for low in range(0, len(folder.names), _STATS_AT_ONCE):
            names = folder.names[low : low + _STATS_AT_ONCE]
            found = self._statuses(at, names)
            modes = [status.st_mode for status in found]
            folder.sizes.extend([status.st_size for status in found])
            folder.modified.extend([status.st_mtime_ns for status in found])
            if plain.issuperset(modes) and not faulty:
                continue
            plain.update(mode for mode in set(modes) if _is_plain(mode))
            odd.update(
                (number, status)
                for number, (name, status) in enumerate(zip(names, found, strict=True), low)
                if status.st_mode not in plain or name in faulty
            )
        return odd

    def _statuses(self, at: bytes, names: Sequence[bytes]) -> list[os.stat_result]:
        """Return the status of each name in a folder, of links themselves."""
        lstat = os.lstat
        try:
            return [lstat(at + name) for name in names]
        except OSError:
            return [self._status(at + name) for name in names]

    def _status(self, path: bytes) -> os.stat_result:
        try:
            return os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return _GONE  # as if the walk had come later
        except OSError as error:
            self._refuse(path.removeprefix(self._root), f"can't be looked at ({error.strerror})")
            return _GONE

    def _settle(self, folder: _Folder, odd: dict[int, os.stat_result]) -> None:
        """Find out what each odd name is: a folder, a file after all, or refused."""
        keep = bytearray(b"\1") * len(folder.names)
        below: list[bytes] = []
        for number, status in odd.items():
            name = folder.names[number]
            if stat.S_ISDIR(status.st_mode):
                below.append(name + b"/")
            elif (file := self._file(folder.path + name, status)) is not None:
                folder.sizes[number], folder.modified[number] = file.st_size, file.st_mtime_ns
                continue
            keep[number] = 0
        folder.names = list(compress(folder.names, keep))
        folder.sizes = array("q", compress(folder.sizes, keep))
        folder.modified = array("q", compress(folder.modified, keep))
        below.sort(reverse=True)
        folder.below = [(bisect_left(folder.names, name), name) for name in below]

    def _warn_of_twins(self, path: bytes, groups: Iterable[list[bytes]]) -> None:
        for group in groups:
            self.warnings.append(are_twins(path + name for name in group))

    # -- a name

    def _refuse(self, path: bytes, reason: str) -> None:
        """Note a name that can't be published, and why."""
        self.refused.append(f"{shown(path)}: {reason}")

    def _file(self, path: bytes, status: os.stat_result) -> os.stat_result | None:
        """Return the status of the file that a name stands for; None where there is none."""
        if stat.S_ISLNK(status.st_mode) and (target := self._linked(path)) is not None:
            status = target
        mode = status.st_mode
        if not mode or stat.S_ISLNK(mode):
            return None
        if not stat.S_ISREG(mode):
            return self._refuse(path, f"a {_kind(mode)}, not a file")
        if len(path) > MAX_PATH_BYTES:
            return self._refuse(path, TOO_LONG)
        if not self._is_readable(path, status):
            return self._refuse(path, "can't be read with the rights of this process")
        if (fault := fault_in_name(path)) is not None:
            return self._refuse(path, fault)
        return status

    def _is_readable(self, path: bytes, status: os.stat_result) -> bool:
        if _is_plain(status.st_mode):
            return True
        if status.st_uid == self._user and status.st_mode & stat.S_IRUSR:
            return True
        return os.access(self._root + path, os.R_OK, effective_ids=True)

    def _linked(self, path: bytes) -> os.stat_result | None:
        """Return the file that a link names, or nothing where the link is refused."""
        try:
            target = os.path.realpath(self._root + path, strict=True)
            status = os.stat(target)  # noqa: PTH116  (bytes)
        except OSError as error:
            self._refuse(path, f"a link that leads nowhere ({error.strerror})")
            return None
        if os.path.commonpath([self._real_root, target]) != self._real_root:
            self._refuse(path, f"a link out of the directory, to {shown(target)}")
            return None
        if stat.S_ISDIR(status.st_mode):
            self._refuse(path, "a link to a folder; copy the folder, or link its files one by one")
            return None
        return status

    # -- metadata files

    def _without_metadata(self, path: bytes, names: list[bytes]) -> list[bytes]:
        """Return the names in a folder without metadata files, which are noted."""
        files = set(names) - self._folders_in(path)
        found = self._sidecars(path, files)
        if not path:
            found |= {_JSONL} & files
        elif _JSONL in files:
            self.warnings.append(misplaced(path + _JSONL))
        for name in found:
            self._note_metadata(path + name)
        if not path:
            found |= {name for name in files if name.startswith(_UNFINISHED)}
        return [name for name in names if name not in found]

    def _folders_in(self, path: bytes) -> set[bytes]:
        with os.scandir(self._root + path) as entries:
            return {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}

    def _sidecars(self, path: bytes, files: set[bytes]) -> set[bytes]:
        """Return the names that are sidecars: beside their file, or saying so."""
        return {
            name
            for name in files
            if name.endswith(_SUFFIX)
            and (name[: -len(_SUFFIX)] in files or _declares(self._root + path + name))
        }

    def _note_metadata(self, path: bytes) -> None:
        """Note a metadata file; what only bears the name (a pipe, a link out) is refused."""
        if self._file(path, self._status(self._root + path)) is not None:
            self.metadata.append(path)


def misplaced(path: bytes) -> str:
    """Return the warning about a file with lines of metadata that lies too deep."""
    return (
        f"{shown(path)} does not lie in the root: it counts as a file, "
        "and nothing in it is read as metadata"
    )


def are_twins(paths: Iterable[bytes]) -> str:
    """Return the warning about paths that some file systems take for one."""
    twins = " and ".join(map(shown, paths))
    return (
        f"{twins} differ only in case or in how letters are encoded: they can't be "
        "resolved where the file system takes them for the same name"
    )


def _is_plain(mode: int) -> bool:
    """Tell whether this is the mode of a file that everybody may read."""
    return stat.S_ISREG(mode) and mode & _READABLE == _READABLE


def _declares(path: bytes) -> bool:
    """Tell whether a file without the file it is named after is metadata: it says so."""
    try:
        info = os.stat(path)  # noqa: PTH116  (bytes)
        if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_SIDECAR_BYTES:
            return False
        with open(path, "rb") as file:  # noqa: PTH123  (likewise)
            return has_own_keys(file.read())
    except OSError:
        return False


def has_own_keys(text: bytes) -> bool:
    """Tell whether a text is a JSON object with one of the platform's own keys."""
    import json  # noqa: PLC0415  most walks meet no such file

    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return False
    keys = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    return any(key.startswith("valohai.") for key in keys)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFDIR: "folder"}
    return kinds.get(stat.S_IFMT(mode), "device")
