"""Programs in C: they are compiled at each run, with whatever gcc is there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_HERE = Path(__file__).parent


def compiled(name: str, folder: Path) -> Path | None:
    """Compile `name`.c and return the program; None without gcc."""
    if shutil.which("gcc") is None:
        return None
    program = folder / name
    flags = ["-O2", "-pthread"]
    subprocess.run(["gcc", *flags, "-o", program, _HERE / f"{name}.c"], check=True)
    return program
