"""What the command line prints: tables, JSON, warnings.

Results go to standard output; everything else, progress and errors, to standard error.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any


def moment(created: str) -> str:
    """Shorten an ISO 8601 time to the minute, as tables show it; other text stays as it is."""
    return created[:16].replace("T", " ") if created[10:11] == "T" else created


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
) -> str:
    """Lay rows out in columns, two spaces apart.

    Args:
        header: Titles of the columns.
        rows: Cells, one sequence per row.
        right: Columns that are set flush right, as numbers are.
    """
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def fields(pairs: Mapping[str, str]) -> str:
    """Lay names and values out, one pair a line; pairs without a value are left out."""
    shown = {name: value for name, value in pairs.items() if value}
    width = max((len(name) for name in shown), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in shown.items())


def show(text: str) -> None:
    """Print one result for people; what the terminal can't write is shown escaped."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  (the caller closed it)
        return
    encoding = sys.stdout.encoding or "utf-8"
    shown = text.encode(encoding, "backslashreplace").decode(encoding)
    print(shown)  # noqa: T201  the one place that prints


def one_line(text: str) -> str:
    """Show control characters, line ends among them, instead of obeying them."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text.rstrip())


def warn(faults: Iterable[Exception], *, then: str) -> None:
    """Print a warning for each of `faults`, on standard error: `then` is what it means here."""
    for fault in faults:
        print(f"warning: {then}: {one_line(str(fault))}", file=sys.stderr)  # noqa: T201


def show_json(value: Any, *, indent: int | None = 2) -> None:
    """Print one result for programs: a JSON document, or one line of them without `indent`."""
    import json  # noqa: PLC0415  as long as two thirds of the interpreter's start

    show(json.dumps(value, indent=indent, ensure_ascii=False))


def close_output() -> None:
    """Point standard output nowhere, so that its last flush at exit fails on nothing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
