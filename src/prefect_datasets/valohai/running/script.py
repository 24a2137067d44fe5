"""The commands of a step as one script, so that `cd`, `export` and `source` carry over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Behind each command: it ends the script with the status of that command, unless that is 0. Neither
# `&&` nor `set -e`, which would change what a command of several lines does.
_STOP = '_step=$?; [ "$_step" -eq 0 ] || exit "$_step"'
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh")


@dataclass(frozen=True, slots=True)
class Script:
    """A script and what runs it.

    Attributes:
        text: The script.
        interpreter: The command that the script's path is added to.
    """

    text: str
    interpreter: tuple[str, ...]


def plan_script(commands: Sequence[str], *, fail_fast: bool, shell: str) -> Script:
    """Make one script of a step's commands.

    Args:
        commands: The commands; a `#!` in the first line of the first one names what runs them.
        fail_fast: Whether the first command that fails ends the script; else only the last one's
            exit code counts.
        shell: What runs commands without a `#!`, such as `bash`.
    """
    lines = [command.strip("\n") for command in commands]
    interpreter = _shebang(lines)
    if interpreter is None:
        interpreter = (shell,)
    if fail_fast and _is_shell(interpreter):
        lines = [line for command in lines for line in (command, _STOP)]
    return Script("\n".join(lines) + "\n", interpreter)


def _shebang(commands: Sequence[str]) -> tuple[str, ...] | None:
    """Return the interpreter that the commands name, as the kernel reads it."""
    first = commands[0].split("\n", 1)[0] if commands else ""
    if not first.startswith("#!") or not first[2:].strip():
        return None
    return tuple(first[2:].strip().split(None, 1))


def _is_shell(interpreter: Sequence[str]) -> bool:
    words = [word.rpartition("/")[2] for part in interpreter for word in part.split()]
    name = words[1] if words[0] == "env" and len(words) > 1 else words[0]
    return name in _SHELLS
