"""What can be written behind `run`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add_run(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    command.add_argument("step", nargs="?", metavar="STEP", help="the step to run")
    command.add_argument(
        "--pipeline", metavar="NAME", help="run this pipeline instead of a single step"
    )
    command.add_argument(
        "-f",
        "--file",
        default="valohai.yaml",
        metavar="FILE",
        help="the file; its folder is the checkout that commands run in (default: valohai.yaml)",
    )
    _add_given(command)
    _add_ways(command)


def _add_given(command: argparse.ArgumentParser) -> None:
    """Add what is given to the step or the pipeline."""
    command.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        type=_pair,
        metavar="NAME=VALUE",
        help="a parameter's value (repeatable; for one with several values once for each)",
    )
    command.add_argument(
        "-i",
        "--input",
        action="append",
        default=[],
        type=_input,
        metavar="NAME=URI",
        help="what an input brings instead of its default: a URI, or a path on this machine "
        "(repeatable, also for several URIs; NAME= for none)",
    )
    command.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        type=_variable,
        metavar="NAME=VALUE",
        help="an environment variable; NAME alone hands on your own (repeatable)",
    )


def _add_ways(command: argparse.ArgumentParser) -> None:
    """Add how it is run."""
    command.add_argument(
        "--on-failure",
        choices=("stop", "go-on"),
        default="stop",
        help="when a command fails: end the step, or let the last command alone decide "
        "(default: stop)",
    )
    command.add_argument(
        "--write-repository",
        action="store_true",
        help="work in the checkout itself instead of in a copy",
    )
    command.add_argument(
        "--namespace",
        choices=("auto", "bubblewrap", "unshare", "plain"),
        default="auto",
        help="what gives the step its /valohai; plain is folders somewhere else (default: auto)",
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text!r}")
    return name, value


def _input(text: str) -> tuple[str, str]:
    """Read an input; a path becomes the URL that it has wherever the step runs."""
    name, uri = _pair(text)
    if not uri or "://" in uri or uri.startswith("{"):
        return name, uri
    return name, f"file://{Path(uri).expanduser().absolute()}"


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text!r}")
    if not equals and name not in os.environ:
        raise argparse.ArgumentTypeError(f"you have no variable {name!r} to hand on")
    return name, value if equals else os.environ[name]
