"""The command line. A subcommand's module is imported when it is called, and no other."""

from __future__ import annotations

import sys

from prefect_datasets.cli import warm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, or this process's own; return the exit code."""
    given = sys.argv[1:] if argv is None else argv
    try:
        if warm.answer(given):
            return 0
        from prefect_datasets.cli.run import run, run_alone  # noqa: PLC0415  several times as long

        return run_alone(given) if argv is None else run(given)
    except KeyboardInterrupt:  # before `run` could look out for it
        from prefect_datasets.cli.interrupt import EXIT_CODE, say_interrupted  # noqa: PLC0415

        say_interrupted()
        return EXIT_CODE
