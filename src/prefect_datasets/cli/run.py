"""Runs one subcommand: errors become one line on standard error and an exit code.

0 is done, 1 is failed, 2 is wrong usage; 130 is interrupted by the keyboard, as shells have it.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from prefect_datasets.cli.arguments import parser
from prefect_datasets.cli.interrupt import EXIT_CODE, ending_on_interrupt, say_interrupted
from prefect_datasets.cli.output import close_output, one_line
from prefect_datasets.core.errors import DatasetError, InvalidInputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DEBUG_VARIABLE = "PREFECT_DATASETS_DEBUG"
WRONG_USAGE = 2
# Commands that run what others wrote. In all others nobody multiplies matrices: the threads that
# numpy starts for it, one for each processor, would only spin, as long as a tenth of a second each.
_THEIR_OWN = ("run", "demo")
_LAST_STREAM = 2


def run(given: Sequence[str]) -> int:
    """Run the command line `given`; return the exit code."""
    arguments = parser(given[0] if given else None)
    try:
        chosen = arguments.parse_args(given)
    except SystemExit as end:  # help was asked for, or the usage is wrong: already said
        return int(end.code or 0)
    try:
        with ending_on_interrupt():
            return _run(chosen, arguments)
    except BrokenPipeError:  # whoever read our output has seen enough, as `head` does
        close_output()
        return 0
    except KeyboardInterrupt:
        say_interrupted()
        return EXIT_CODE
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        report(error)
        return 1


def run_alone(given: Sequence[str]) -> int:
    """Run the command line `given` in a process that does nothing else, and end the process."""
    if given and given[0] not in _THEIR_OWN:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _stand_in_for_streams()
    code = run(given)
    _end_process(code)
    return code


def _stand_in_for_streams() -> None:
    """Lead nowhere what the caller closed: else a file of a dataset gets the number of a stream."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STREAM:
        os.set_inheritable(descriptor, True)  # noqa: FBT003  (its only form)
    os.close(descriptor)
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  (no pathlib; for good)


def _end_process(code: int) -> None:
    """End this process as the interpreter does, but for taking its modules apart.

    With Arrow and numpy that takes a tenth of what a small resolve takes, and Arrow has been seen
    to crash in it. Prefect ends in its own way.
    """
    if "prefect" in sys.modules:
        return
    atexit._run_exitfuncs()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  (no public name)
    with suppress(OSError, ValueError):  # closed by whoever read it, or by the caller
        for stream in (sys.stdout, sys.stderr):
            if stream:
                stream.flush()
    os._exit(code)


def report(error: Exception) -> None:
    """Say what went wrong, on standard error."""
    _say(_describe(error))


def _run(chosen: argparse.Namespace, arguments: argparse.ArgumentParser) -> int:
    if chosen.version:
        from prefect_datasets import __version__  # noqa: PLC0415  only one wants it

        sys.stdout.write(f"prefect-datasets {__version__}\n")
        return 0
    if chosen.command is None:
        arguments.print_help(sys.stderr)
        return WRONG_USAGE
    module, _, function = chosen.call.partition(":")
    code: int = getattr(import_module(module), function)(chosen)
    if sys.stdout:  # None where the caller closed it
        sys.stdout.flush()
    return code


def _describe(error: Exception) -> str:
    """Say what went wrong on one line; faults of several files have a line each."""
    if isinstance(error, InvalidInputError) and error.faults:
        return "\n".join(one_line(line) for line in str(error).splitlines())
    if isinstance(error, DatasetError):
        return one_line(str(error))
    if isinstance(error, OSError) and error.strerror:
        return one_line(f"{error.strerror}: {error.filename or ''}".removesuffix(": "))
    return one_line(
        f"unexpected {type(error).__name__}: {error}. "
        f"With {DEBUG_VARIABLE}=1 it shows the traceback, which belongs in a bug report."
    )


def _say(text: str) -> None:
    print(f"prefect-datasets: {text}", file=sys.stderr)  # noqa: T201  the one place for errors
