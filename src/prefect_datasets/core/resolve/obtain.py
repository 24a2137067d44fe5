"""Have a tree of the cache: use it if it is there, else make it, one process at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect_datasets.core.cache.attempt import Attempt
    from prefect_datasets.core.cache.cache import Cache, Entry, Ready
    from prefect_datasets.core.progress import Progress

_MOST_ROUNDS = 5
_MOST_ATTEMPTS = 3


def obtain(
    cache: Cache, entry: Entry, build: Callable[[Attempt], Ready], progress: Progress
) -> tuple[Ready, bool]:
    """Lease a tree and return what it is, and whether it was there already.

    Args:
        cache: The cache.
        entry: The tree's place.
        build: Fills an attempt's `files` and `parts`; called again if its folder was deleted.
        progress: Who is told.
    """
    is_warm = True
    for _ in range(_MOST_ROUNDS):
        if ready := warm(cache, entry):
            return ready, is_warm
        is_warm = not _make(cache, entry, build, progress)
    raise AssertionError(f"{entry.folder} is deleted as soon as it is made")


def warm(cache: Cache, entry: Entry) -> Ready | None:
    """Lease a tree and return what it is; None where it has to be made.

    After a crash of the machine the sizes of its files are looked at once, because nothing was
    forced to the disk when they were written.
    """
    ready = cache.use(entry)
    if ready is None or not ready.is_of_earlier_boot:
        return ready
    from prefect_datasets.core.cache import check  # noqa: PLC0415  (a warm resolve imports no Arrow)

    return check.after_boot(cache, entry, ready)


def _make(
    cache: Cache, entry: Entry, build: Callable[[Attempt], Ready], progress: Progress
) -> bool:
    """Make a tree; False if another made it while this process waited."""
    from prefect_datasets.core.cache import attempt  # noqa: PLC0415  (a warm resolve needs none)

    with attempt.turn(entry):
        if entry.read_ready() is not None:
            return False
        for left in reversed(range(_MOST_ATTEMPTS)):
            it = attempt.Attempt(cache, entry)
            try:
                it.publish(build(it))
                break
            except (attempt.AttemptLostError, FileNotFoundError):
                if not left or not it.is_lost():
                    raise
                progress.warn(f"Somebody deleted {it.folder}: beginning again")
            finally:
                it.keep()
        attempt.sweep(cache, entry)
    return True
