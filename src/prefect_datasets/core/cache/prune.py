"""What the cache can do without: planned purely, then deleted.

Trees share files by hard links, so what deleting one gives back depends on which others stay.
`survey` therefore counts each file where its last link goes, in the order in which trees would go.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_datasets.core.cache.attempt import attempt_folders, is_abandoned
from prefect_datasets.core.cache.cache import Entry
from prefect_datasets.core.cache.trash import discard, empty

if TYPE_CHECKING:
    from prefect_datasets.core.cache.cache import Cache

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tree, or an attempt at one.

    Attributes:
        folder: Where it lies.
        name: What it is, for people.
        entry: The tree; None for an attempt.
        last_used: When it was resolved, or written to, last: seconds since 1970.
        n_bytes: What deleting it gives back if all candidates before it are deleted as well.
        in_use: A lease on it holds.
        is_newer: A newer release made it.
    """

    folder: Path
    name: str
    entry: Entry | None
    last_used: float
    n_bytes: int
    in_use: bool
    is_newer: bool = False


@dataclass(frozen=True, slots=True)
class Prune:
    """What would be deleted and what stays.

    Attributes:
        frees: What would be deleted, in this order.
        keeps: What stays, each with the reason.
    """

    frees: tuple[Candidate, ...]
    keeps: tuple[tuple[Candidate, str], ...]

    @property
    def n_bytes(self) -> int:
        """About how many bytes that gives back to the disk."""
        return sum(candidate.n_bytes for candidate in self.frees)

    @property
    def n_kept_bytes(self) -> int:
        """About how many bytes stay."""
        return sum(candidate.n_bytes for candidate, _ in self.keeps)


def plan_prune(
    candidates: Sequence[Candidate],
    *,
    now: float,
    max_bytes: int | None = None,
    unused_seconds: float | None = None,
    free_bytes: int = 0,
) -> Prune:
    """Decide what goes, the longest unused first. What is in use, or of a newer release, stays.

    Attempts go when they are a day old; before, a resolve can pick them up.

    Args:
        candidates: All trees and attempts, as `survey` returns them.
        now: Seconds since 1970.
        max_bytes: Trees go until the rest takes no more than this.
        unused_seconds: Trees go that were not used for so long.
        free_bytes: Trees go until so many bytes were given back.
    """
    total = sum(candidate.n_bytes for candidate in candidates)
    wanted = free_bytes if max_bytes is None else max(free_bytes, total - max_bytes)
    reasons = [_why_kept(candidate, now, unused_seconds) for candidate in candidates]
    both = list(zip(candidates, reasons, strict=True))
    wanted -= sum(candidate.n_bytes for candidate, why in both if not why)
    frees: list[Candidate] = []
    keeps: list[tuple[Candidate, str]] = []
    for candidate, why in both:
        if why in _MAY_GO and wanted > 0:
            wanted -= candidate.n_bytes
            frees.append(candidate)
        elif why:
            keeps.append((candidate, why))
        else:
            frees.append(candidate)
    return Prune(tuple(frees), tuple(keeps))


_MAY_GO = ("used lately", "there is room")


def _why_kept(candidate: Candidate, now: float, unused_seconds: float | None) -> str:
    """Return why a candidate stays, for now; empty if it goes in any case."""
    age = now - candidate.last_used
    if why := _why_never(candidate):
        return why
    if candidate.entry is None:
        return "" if age >= DAY_SECONDS else "a resolve can go on with it"
    if unused_seconds is None:
        return "there is room"
    return "" if age >= unused_seconds else "used lately"


def plan_clear(candidates: Sequence[Candidate]) -> Prune:
    """Decide what goes where everything is to go; attempts that a resolve could go on with too."""
    both = [(candidate, _why_never(candidate)) for candidate in candidates]
    frees = tuple(candidate for candidate, why in both if not why)
    return Prune(frees, tuple((candidate, why) for candidate, why in both if why))


def _why_never(candidate: Candidate) -> str:
    if candidate.is_newer:
        return "made by a newer release"
    return "in use" if candidate.in_use else ""


def survey(cache: Cache, *, now: float | None = None) -> list[Candidate]:
    """Return all trees and attempts, the longest unused first, those in use last."""
    now = time.time() if now is None else now
    found = [*_trees(cache, now), *_attempts(cache)]
    found.sort(key=lambda item: (item[3], item[2]))
    links: dict[tuple[int, int], int] = {}
    return [
        Candidate(folder, name, entry, used, _own_bytes(folder, links), in_use, _is_newer(entry))
        for folder, name, used, in_use, entry in found
    ]


def _is_newer(entry: Entry | None) -> bool:
    return entry is not None and entry.is_of_newer_release()


_Found = tuple[Path, str, float, bool, Entry | None]


def _trees(cache: Cache, now: float) -> Iterator[_Found]:
    for entry in cache.entries():
        name = f"{entry.area}/{entry.group}/{entry.name}"
        yield entry.folder, name, entry.last_used(), entry.is_in_use(now=now), entry


def _attempts(cache: Cache) -> Iterator[_Found]:
    for folder in all_attempts(cache):
        with contextlib.suppress(OSError):
            used = (folder / "journal").stat().st_mtime
            if Entry(cache.root, *folder.parts[-4:-1]).ready.exists():
                used = 0.0  # the tree is there: a kill came between publishing and sweeping
            name = str(folder.relative_to(cache.root))
            yield folder, name, used, not is_abandoned(folder), None


def all_attempts(cache: Cache) -> Iterator[Path]:
    """Yield the folders of all attempts."""
    for place in (cache.root / "attempts").glob("*/*/*"):
        yield from attempt_folders(place)


def _own_bytes(folder: Path, links: dict[tuple[int, int], int]) -> int:
    """Return what deleting a folder gives back when those counted in `links` are gone."""
    n_bytes = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(f"{path}/{name}")
            except FileNotFoundError:
                continue
            if status.st_nlink > 1:
                key = (status.st_dev, status.st_ino)
                links[key] = links.get(key, 0) + 1
                if links[key] < status.st_nlink:
                    continue
                del links[key]
            n_bytes += status.st_blocks * 512
    return n_bytes


# -- doing it ---------------------------------------------------------------------------------


def prune(cache: Cache, plan: Prune) -> int:
    """Delete what a plan names, and old garbage; return the bytes given back to the disk.

    A tree that came into use since the plan was made stays.
    """
    n_bytes = empty(cache.root)
    for candidate in plan.frees:
        if candidate.entry is not None:
            n_bytes += condemn(cache, candidate.entry) or 0
        elif is_abandoned(candidate.folder):
            n_bytes += discard(cache.root, candidate.folder)
    return n_bytes


def condemn(cache: Cache, entry: Entry) -> int | None:
    """Delete a tree unless it is in use; return the bytes given back, None if it stays.

    `ready` goes first, and only then leases are looked at. Who resolves does it the other way
    round, a lease first and then `ready`: so never both think that the tree is theirs. What a
    newer release made is left to it: its leases may be elsewhere.
    """
    if entry.is_of_newer_release():
        return None
    with contextlib.suppress(FileNotFoundError):
        entry.ready.rename(entry.condemned)
    if entry.is_in_use():
        with contextlib.suppress(FileNotFoundError):
            entry.condemned.rename(entry.ready)
        return None
    return discard(cache.root, entry.folder)


def clear(cache: Cache, plan: Prune) -> int:
    """Delete what `plan_clear` names, and all pointers; return the bytes given back to the disk."""
    n_bytes = prune(cache, plan)
    pointers = cache.root / "pointers"
    return n_bytes + (discard(cache.root, pointers) if pointers.exists() else 0)
