"""A Python environment of the run's own: `python` and `pip` in a step, and nothing that stays.

It shows all that the Python of this process has installed. What a step installs with `pip` goes
into the run's folder and away with it.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from pathlib import Path

_PIP = """#!/bin/sh
exec "{python}" -m pip "$@"
"""


def programs() -> str:
    """Return the folder with the programs of this process's Python, such as `prefect`."""
    return sysconfig.get_path("scripts")


def make_environment(folder: Path, place: str) -> None:
    """Make the environment.

    Args:
        folder: Where; it is there, and empty.
        place: Where the step sees that folder.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    (folder / "pyvenv.cfg").write_text(
        f"home = {Path(base).parent}\ninclude-system-site-packages = false\n"
        f"version = {sys.version.split()[0]}\n"
    )
    packages = folder / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    lines = [f"import site; site.addsitedir({path!r})\n" for path in _packages()]
    (packages / "_of_the_runner.pth").write_text("".join(lines))
    binaries = folder / "bin"
    binaries.mkdir()
    for name in ("python", "python3", version):
        (binaries / name).symlink_to(base)
    for name in ("pip", "pip3"):
        (binaries / name).write_text(_PIP.format(python=f"{place}/bin/python"))
        (binaries / name).chmod(0o755)


def _packages() -> list[str]:
    """Return the folders with installed packages of this process, those of its own first."""
    known = [*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return [path for path in dict.fromkeys(known) if Path(path).is_dir()]
