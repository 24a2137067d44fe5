"""Let several workers send pieces one after the other, where a store takes them in order only."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager


class Turns:
    """Whose turn it is to send.

    Args:
        any_order: It is everybody's turn at any time.
    """

    def __init__(self, *, any_order: bool) -> None:
        self.any_order = any_order
        self._next = 0
        self._given_up = False
        self._changed = threading.Condition()

    @contextmanager
    def of(self, index: int) -> Generator[None]:
        """Wait until every piece before `index` was sent, and send it inside the block.

        Work must be started in the order of the pieces, or the workers wait for each other.
        """
        if self.any_order:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._next == index or self._given_up)
            if self._given_up:
                raise _GivenUpError(index)
            yield
            self._next = index + 1
            self._changed.notify_all()

    def give_up(self) -> None:
        """Let nobody wait any longer: some piece will never be sent."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()


class _GivenUpError(Exception):
    """Another piece failed; that error is the one to be shown."""
