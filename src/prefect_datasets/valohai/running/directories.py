"""The folders of one run, on the disk and as the step sees them."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# Where a step finds itself in a namespace; scripts have the first four of them written into them.
VALOHAI = "/valohai"


@dataclass(frozen=True, slots=True)
class Directories:
    """The folders of one run, all below one of its own.

    Attributes:
        root: That folder.
    """

    root: Path

    @classmethod
    def make(cls, runs: Path, execution: str) -> Self:
        """Make the folders, empty, readable by this user alone."""
        made = cls(runs / execution)
        made.root.mkdir(parents=True, mode=0o700)
        for folder in ("config", "inputs", "outputs", "repository", "home", "python", "tmp"):
            (made.root / folder).mkdir()
        for folder in ("live", "root"):
            (made.root / folder).mkdir()
        return made

    @property
    def config(self) -> Path:
        """The files that say what runs."""
        return self.root / "config"

    @property
    def inputs(self) -> Path:
        """A folder for each input."""
        return self.root / "inputs"

    @property
    def outputs(self) -> Path:
        """What the step writes."""
        return self.root / "outputs"

    @property
    def repository(self) -> Path:
        """A copy of the checkout."""
        return self.root / "repository"

    @property
    def live(self) -> Path:
        """Outputs that are on their way to the store while the step runs."""
        return self.root / "live"

    @property
    def log(self) -> Path:
        """All that the step printed."""
        return self.root / "log.txt"

    def remove(self) -> None:
        """Delete everything, folders that the step made read-only too."""
        for folder, below, _ in os.walk(self.root):
            for name in below:
                _unlock(os.path.join(folder, name))  # noqa: PTH118 - a million of them
        shutil.rmtree(self.root, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the step finds its folders.

    Attributes:
        config: The files that say what runs.
        inputs: A folder for each input.
        outputs: Where it writes.
        repository: Where it runs.
        home: Its home.
        python: Its own Python environment.
        tmp: For temporary files.
    """

    config: str
    inputs: str
    outputs: str
    repository: str
    home: str
    python: str
    tmp: str

    @classmethod
    def in_namespace(cls) -> Self:
        """Return the places that scripts know."""
        return cls(*(f"{VALOHAI}/{name}" for name in _NAMES), tmp="/tmp")  # noqa: S108 - private

    @classmethod
    def plain(cls, directories: Directories, *, repository: Path) -> Self:
        """Return the folders themselves, where there is no namespace."""
        own = {name: str(directories.root / name) for name in (*_NAMES, "tmp")}
        return cls(**{**own, "repository": str(repository)})


_NAMES = ("config", "inputs", "outputs", "repository", "home", "python")


def _unlock(folder: str) -> None:
    """Let this user delete what is in a folder."""
    with suppress(OSError):
        if not os.path.islink(folder):  # noqa: PTH114
            os.chmod(folder, stat.S_IRWXU)  # noqa: PTH101
