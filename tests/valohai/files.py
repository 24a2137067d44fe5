"""Small `valohai.yaml` files for tests."""

from __future__ import annotations

import textwrap
from pathlib import Path

from prefect_datasets.valohai.reading.config import Config, load


def write(folder: Path, text: str) -> Path:
    """Write `text`, less its indentation, as the folder's `valohai.yaml`."""
    path = folder / "valohai.yaml"
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return path


def config(folder: Path, text: str) -> Config:
    """Write and load a file."""
    return load(write(folder, text))


def step(folder: Path, text: str, command: str = "run {parameters}") -> Config:
    """Write and load a file with a step `s` that has `text` beside its image and command."""
    body = textwrap.indent(textwrap.dedent(text).strip("\n"), "    ")
    head = f"- step:\n    name: s\n    image: any\n    command: {command!r}\n"
    return config(folder, head + body)
