"""Markdown that summaries are made of."""

import re
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; its cells may hold Markdown, so text of others goes through `plain`."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Keep text from ending the cell or the line it stands in; Markdown in it stays Markdown."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def plain(text: str) -> str:
    """Return text that shows as it is, a file's name for one."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", text.replace("\n", " "))


def code(text: str) -> str:
    """Return text as code in a cell."""
    shown = text.replace("`", "'").replace("|", "\\|").replace("\n", " ")
    return f"`{shown}`"


def section(title: str, *texts: str) -> str:
    """Return a section of the texts that are not empty; nothing where all are."""
    shown = [text for text in texts if text]
    return "\n\n".join([f"## {title}", *shown]) if shown else ""
