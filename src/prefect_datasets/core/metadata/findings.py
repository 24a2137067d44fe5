"""Collecting what is wrong with metadata, so that it is all told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_datasets.core.errors import InvalidMetadataError

if TYPE_CHECKING:
    from collections.abc import Iterable

_FAULTS_AT_MOST = 100  # a million lines with the same mistake need not be told one by one


class Findings:
    """Collects what is wrong with metadata, so that it is all told at once.

    A fault leaves out a line or a key: a warning in a step, an error elsewhere. An error makes it
    unclear which version is meant, and is one everywhere.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._errors: list[str] = []
        self._faults: list[str] = []
        self._notes: dict[str, tuple[str, int]] = {}
        self._n_more = 0

    def error(self, text: str) -> None:
        """Note something that makes a version unclear."""
        self._keep(self._errors, text)

    def fault(self, text: str) -> None:
        """Note something that is left out if it may be."""
        self._keep(self._faults, text)

    def warn(self, what: str, where: str) -> None:
        """Note something that is taken in spite of its form; told once, with its first place."""
        first, count = self._notes.get(what, (where, 0))
        self._notes[what] = (first, count + 1)

    def settle(self, subject: str) -> tuple[str, ...]:
        """Return the warnings.

        Raises:
            InvalidMetadataError: There are errors, or faults that may not be left out.
        """
        found = [*self._errors, *self._faults]
        if self._n_more:
            found.append(f"and {self._n_more} more")
        if self._errors or (self._strict and found):
            raise InvalidMetadataError(
                "Faulty metadata",
                subject=subject,
                hint="Correct what is listed; no version has been made.",
                faults=tuple(found),
            )
        return (*found, *self._told_notes())

    def _told_notes(self) -> Iterable[str]:
        for what, (where, count) in self._notes.items():
            others = f" and {count - 1} more places" if count > 1 else ""
            yield f"{where}{others}: {what}"

    def _keep(self, kept: list[str], text: str) -> None:
        if len(kept) < _FAULTS_AT_MOST:
            kept.append(text)
        else:
            self._n_more += 1
