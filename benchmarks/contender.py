"""What is measured: a contender is one way to do the work, as a shell command over a setting."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

OURS = "prefect-datasets"


@dataclass(frozen=True, slots=True)
class Files:
    """A folder of files and the same files as single objects on the server.

    Attributes:
        root: The originals.
        digest: Over their paths and contents.
        n_files: Their number.
        n_bytes: Sum of their sizes.
        prefix: URL that the objects' names begin with, with the last slash.
        packages: URLs of their packages; those of samples end in `.zip`.
    """

    root: Path
    digest: str
    n_files: int
    n_bytes: int
    prefix: str = ""
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """Where one run takes place.

    Attributes:
        files: What is fetched or published: all files, or a sample of them.
        work: A folder on the watched file system for whatever the run leaves.
        target: A folder below it that does not exist: where a directory has to be made.
        store: URL of our store with the version `dataset://bench/v1`.
        new: The files of the version after `v1`, where the scenario has one.
        bucket: URL of an empty bucket, for those that upload.
        one_file: A local file as large as the package, for those that upload one.
        tuning: The best of the contender's tunings, or the one that is tried.
        tools: Programs compiled for this run, by name.
    """

    files: Files
    work: Path
    target: Path
    store: str = ""
    new: Files | None = None
    bucket: str = ""
    one_file: Path = Path("/dev/null")
    tuning: str = ""
    tools: Mapping[str, Path] = field(default_factory=dict[str, Path])

    @property
    def package(self) -> str:
        """The only package, for tools that take one."""
        (package,) = self.files.packages
        return package

    @property
    def cache(self) -> Path:
        """A cache of ours beside the target."""
        return self.work / "cache"


Command = Callable[[Setting], str]
Facts = Callable[[str], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: For tables; the one that begins with `prefect-datasets` is ours.
        command: What bash runs and what is measured.
        makes: What the target must hold afterwards: "files", "new", or "" for no look at it.
        once: What bash runs before the first round, not measured.
        before: What bash runs before each round, not measured.
        rounds: In how many rounds it runs at most; those that take minutes do with one.
        tunings: Values of its knob that are tried beforehand; the fastest is measured.
        tunes_on_sample: Whether a sample of the files is enough to tune it.
        is_sampled: It runs on two samples, and what all files take follows from the difference.
        uploads: It gets an empty bucket each time.
        keeps_cache: Our cache stays for the next run.
        needs: Programs without which it is left out.
        facts: What else its standard output says.
        is_limit: It does only a part of the work; nothing can be faster.
        is_small: It takes part in the small mode.
    """

    name: str
    command: Command
    makes: str = ""
    once: Command | None = None
    before: Command | None = None
    rounds: int = 99
    tunings: tuple[str, ...] = ()
    tunes_on_sample: bool = True
    is_sampled: bool = False
    uploads: bool = False
    keeps_cache: bool = False
    needs: tuple[str, ...] = ()
    facts: Facts | None = None
    is_limit: bool = False
    is_small: bool = True

    def missing(self) -> list[str]:
        """Return the programs that it needs and that are not installed."""
        return [name for name in self.needs if find_program(name) is None]


def find_program(name: str) -> str | None:
    """Return a program beside this interpreter or on the PATH; a module as `module:NAME`."""
    if name.startswith("module:"):
        import importlib.util  # noqa: PLC0415  (its `util` is loaded on demand)

        return name if importlib.util.find_spec(name.partition(":")[2]) else None
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.exists() else shutil.which(name)


def program(name: str) -> str:
    """Return a program that is known to be there."""
    found = find_program(name)
    assert found is not None
    return found


def rival(arguments: str) -> str:
    """Return the command that runs one of the rivals written in Python."""
    return f"{sys.executable} -m benchmarks.rivals {arguments}"
