"""One try to make a tree: a private folder, picked up by the next one if its process is killed.

    attempts/<area>/<group>/<name>/lock                  saves double work, nothing more
    attempts/<area>/<group>/<name>/<id>/files/ parts/    the tree so far
                                        journal          which rows of which part are whole
                                        owner            a lease of the process that writes here
                                        leases/          its lease on the tree to be

Nobody writes into another's attempt. What an attempt left, dead or alive, is only a source: its
journaled files are whole and never written again, so they can be linked. The journal is lines
`rows PART FIRST END` and `piece PART ROW START LENGTH`, several at a time in one appending write; a
torn last line is ignored.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import uuid
import zlib
from collections import defaultdict
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.cache import Cache, Entry, Ready
from prefect_datasets.core.cache.trash import discard

# Who waits for another's attempt stops to wait when that shows no life for so long.
_PATIENCE_SECONDS = 120.0

RowRange = tuple[int, int]


class AttemptLostError(Exception):
    """Somebody deleted the attempt's folder; begin again."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a journal says.

    Attributes:
        rows: Part -> ranges of rows, first and end, whose files are whole.
        pieces: (part, row) -> start and length of each piece of a large file that is written.
    """

    rows: dict[int, list[RowRange]] = field(default_factory=lambda: defaultdict(list))
    pieces: dict[tuple[int, int], set[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(set)
    )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a journal; a torn line says nothing, and all of one from before a crash neither.

        Nothing is forced to the disk: when the machine went down, files may be there without their
        bytes.
        """
        done = cls()
        for line in text.split("\n")[:-1]:
            match line.split(" "):
                case ["boot", machine, boot] if (
                    machine == _machine() and boot != leases.this_boot()
                ):
                    return cls()
                case ["rows", part, first, end]:
                    done.rows[int(part)].append((int(first), int(end)))
                case ["piece", part, row, start, length]:
                    done.pieces[int(part), int(row)].add((int(start), int(length)))
                case _:
                    continue
        return done


@dataclass(frozen=True, slots=True)
class Leftover:
    """What another attempt at the same tree has made so far.

    Attributes:
        folder: Its folder.
        is_dead: Its process is known to be gone.
        done: What its journal says.
    """

    folder: Path
    is_dead: bool
    done: Done


class Attempt:
    """A private folder for one tree in the making.

    Args:
        cache: The cache it is part of.
        entry: The tree's place.
    """

    def __init__(self, cache: Cache, entry: Entry) -> None:
        self.cache = cache
        self.entry = entry
        self.folder = entry.attempts / uuid.uuid4().hex
        self.files = self.folder / "files"
        self.parts = self.folder / "parts"
        self._owner = self.folder / "owner"
        self._lease = self.folder / "leases" / leases.lease_name(leases.this_process())
        for folder in (self.files, self.parts, self._lease.parent):
            folder.mkdir(parents=True)
        leases.take(self._owner)
        # Part of the tree from its first moment, so that no prune finds it unused.
        leases.take(self._lease, until=cache.term())
        self._journal = os.open(
            self.folder / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        self._note(f"boot {_machine()} {leases.this_boot()}\n")

    def note_rows(self, part: int, ranges: Iterable[RowRange]) -> None:
        """Note rows of a part whose files are whole."""
        self._note("".join(f"rows {part} {first} {end}\n" for first, end in ranges))

    def note_piece(self, part: int, row: int, start: int, length: int) -> None:
        """Note a piece of a large file that is written."""
        self._note(f"piece {part} {row} {start} {length}\n")

    def _note(self, lines: str) -> None:
        os.write(self._journal, lines.encode())
        with contextlib.suppress(OSError):
            os.utime(self.entry.attempts / "lock")

    def is_lost(self) -> bool:
        """Tell whether somebody deleted the folder."""
        return not self._owner.exists()

    def publish(self, ready: Ready) -> bool:
        """Make the tree visible with one rename; False, and drop this, if another was first."""
        (self.folder / "ready").write_bytes(ready.to_json())
        self.entry.folder.parent.mkdir(parents=True, exist_ok=True)
        if not self._rename():
            self.drop()
            return False
        self._close()
        for name in ("owner", "journal"):
            (self.entry.folder / name).unlink(missing_ok=True)
        return True

    def _rename(self) -> bool:
        for _ in range(3):
            try:
                self.folder.rename(self.entry.folder)
            except FileNotFoundError as error:
                raise AttemptLostError from error
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                if self.entry.read_ready() is not None:
                    return False
                clear_wreck(self.cache, self.entry)
            else:
                leases.moved(self._lease, self.entry.leases / self._lease.name)
                return True
        return False

    def keep(self) -> None:
        """Leave it for the next one to pick up."""
        self._close()
        leases.give_back(self._lease)

    def drop(self) -> None:
        """Delete it."""
        self.keep()
        discard(self.cache.root, self.folder)

    def _close(self) -> None:
        leases.give_back(self._owner)
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1


def _machine() -> str:
    return f"{zlib.crc32(leases.this_host().encode()):08x}"


def leftovers(entry: Entry, *, mine: Path | None = None) -> list[Leftover]:
    """Return what other attempts at the same tree have made, the one with the most first."""
    found: list[Leftover] = []
    for folder in attempt_folders(entry.attempts):
        if folder != mine:
            with contextlib.suppress(FileNotFoundError):
                text = (folder / "journal").read_text(errors="replace")
                found.append(Leftover(folder, is_abandoned(folder), Done.parse(text)))
    return sorted(
        found,
        key=lambda left: -sum(end - first for r in left.done.rows.values() for first, end in r),
    )


def attempt_folders(attempts: Path) -> list[Path]:
    """Return the folders of all attempts at one tree."""
    try:
        with os.scandir(attempts) as items:
            return [Path(item.path) for item in items if item.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_abandoned(folder: Path) -> bool:
    """Tell whether nobody writes to the attempt any more."""
    return not leases.is_live(folder / "owner")


def sweep(cache: Cache, entry: Entry) -> None:
    """Delete the dead attempts at a tree that is there now."""
    for folder in attempt_folders(entry.attempts):
        if is_abandoned(folder):
            discard(cache.root, folder)
    if not attempt_folders(entry.attempts):
        with contextlib.suppress(OSError):
            (entry.attempts / "lock").unlink(missing_ok=True)
            entry.attempts.rmdir()


def clear_wreck(cache: Cache, entry: Entry) -> None:
    """Repair or move away a tree without `ready`: a killed prune left it."""
    if entry.is_of_newer_release():
        return
    with contextlib.suppress(OSError):
        if entry.condemned.exists() and entry.is_in_use():
            entry.condemned.rename(entry.ready)
    if entry.read_ready() is None:
        discard(cache.root, entry.folder)


@contextlib.contextmanager
def turn(entry: Entry) -> Generator[None]:
    """Wait while another makes the same tree, so that it is fetched once.

    Where locks do nothing, or the other is stuck, both make it and the first to end wins.
    """
    entry.attempts.mkdir(parents=True, exist_ok=True)
    handle = os.open(entry.attempts / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _wait(handle, entry)
        yield
    finally:
        os.close(handle)  # and with it the lock


def _wait(handle: int, entry: Entry) -> None:
    pause = 0.01
    began = time.time()
    while not _try_lock(handle) and entry.read_ready() is None:
        if time.time() - max(began, os.fstat(handle).st_mtime) > _PATIENCE_SECONDS:
            return
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # this file system has no locks
        return True
    return True
