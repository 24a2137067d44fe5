"""What scenarios play on: files of one shape, a server that has them, a file system of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.contender import Files, Setting
from benchmarks.files import Shape, linked, next_version, write_list, write_originals
from benchmarks.links import LOOPBACK, Network
from benchmarks.measure import Measured, run
from benchmarks.resolvers import ours, s5cmd
from benchmarks.server import Server, serving

_BUCKET = "s3://test-bucket"  # made with the server
_MOST_COPIED_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Need:
    """What a scenario needs to be there; those with equal needs share a stage.

    Attributes:
        shape: The files.
        has_files: Version v1 with packages, files and table; else only packages and table.
        has_loose: A version `loose` without packages too, which has the files in v1's stead.
        has_next: Version v2 too.
        has_one_file: A local file as large as the package.
        has_version: Version v1 is published at all.
        samples: How many files the samples have that are made beforehand.
        keeps_originals: The files stay; else only what is known of them, which saves memory.
        on_disk: Files and what is made of them lie on the disk, not in memory.
    """

    shape: Shape
    has_files: bool = False
    has_loose: bool = False
    has_next: bool = False
    has_one_file: bool = False
    has_version: bool = True
    samples: tuple[int, ...] = ()
    keeps_originals: bool = True
    on_disk: bool = False


@dataclass(slots=True)
class Stage:
    """A server with a shape's files, and a file system for what contenders make.

    Attributes:
        server: The server.
        root: The watched file system's folder.
        tools: Programs compiled for this run.
        setting: What is the same for all contenders.
        samples: Samples of the files by their number, as they are asked for.
        new_bytes: Bytes of v2 that are not in v1.
    """

    server: Server
    root: Path
    setting: Setting
    samples: dict[int, Files] = field(default_factory=dict[int, Files])
    new_bytes: int = 0

    @property
    def work(self) -> Path:
        """The folder for what contenders make."""
        return self.setting.work

    def run(self, command: str, link: str = LOOPBACK, timeout_seconds: float = 1800) -> Measured:
        """Run a command at the end of a link."""
        return run(
            command,
            watched=self.work,
            env=self.server.environment(link, self.root / "home"),
            prefix=self.server.network.prefix(link),
            timeout_seconds=timeout_seconds,
        )

    def sample(self, n_files: int) -> Files:
        """Return a sample of the files, uploaded."""
        if n_files >= self.setting.files.n_files:
            return self.setting.files
        if n_files not in self.samples:
            root, prefix = self.root / f"sample-{n_files}", f"{_BUCKET}/samples/{n_files}/"
            files = linked(self.setting.files.root, root, n_files)
            self.run(s5cmd(f"cp '{root}/' {prefix}"))
            packages = _packaged(self, root, f"sample-{n_files}", "--individual-files off")
            self.samples[n_files] = replace(files, prefix=prefix, packages=packages)
        return self.samples[n_files]

    def clear(self) -> None:
        """Remove what a contender made, but for caches: the next one's `before` sees to those."""
        for left in self.work.glob("target*"):
            remove(left)


@contextmanager
def staged(
    need: Need, network: Network, where: Path, tools: Mapping[str, Path]
) -> Generator[Stage]:
    """Build a stage below `where`, and take it down.

    Args:
        need: What is to be there.
        network: Where the server runs.
        where: A folder on a memory file system, or on the disk that is to be measured.
        tools: Programs compiled for this run.
    """
    with ExitStack() as stack:
        served = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=where)))
        root = stack.enter_context(_own_file_system(where))
        server = stack.enter_context(serving(network, served))
        for name in ("home", "made"):
            (root / name).mkdir()
        files = write_originals(root / "v1", need.shape)
        store = f"{_BUCKET}/ours"
        setting = Setting(files, root / "made", root / "made" / "target", store, tools=tools)
        stage = Stage(server, root, setting)
        _fill(stage, need)
        yield stage


def _fill(stage: Stage, need: Need) -> None:
    files, new = stage.setting.files, None
    write_list(files.root, stage.work / "list")
    if need.has_loose:
        _publish(stage, files.root, "loose", "--packaging off")
    if need.has_version:
        only = "" if need.has_files else "--individual-files off"
        files = replace(files, packages=_packaged(stage, files.root, "v1", only))
    if need.has_next:
        new, stage.new_bytes = next_version(files.root, stage.root / "v2")
        _publish(stage, new.root, "v2", "--packaging on --individual-files off")
    if need.has_files or need.has_loose:
        prefix = _prefix_of(stage, "v1" if need.has_files else "loose")
        files = replace(files, prefix=prefix)
    one_file = stage.root / "one.zip"
    if need.has_one_file:
        _write_one(one_file, files.n_bytes + 250 * files.n_files)
    stage.setting = replace(stage.setting, files=files, new=new, one_file=one_file)
    for n_files in need.samples:
        stage.sample(n_files)
    if not need.keeps_originals:
        remove(files.root)


def _publish(stage: Stage, root: Path, version: str, flags: str) -> None:
    to = f"--to dataset://bench/{version} --store {stage.setting.store}"
    stage.run(ours(f"publish {root} {to} {flags}"))


def _shown(stage: Stage, version: str) -> dict[str, Any]:
    show = f"show dataset://bench/{version} --json --store {stage.setting.store}"
    return json.loads(stage.run(ours(show)).output)


def _prefix_of(stage: Stage, version: str) -> str:
    execution = _shown(stage, version)["execution"]
    return f"{stage.setting.store}/outputs/{execution}/files/"


def _packaged(stage: Stage, root: Path, version: str, flags: str) -> tuple[str, ...]:
    """Publish with packages and return their URLs.

    Small ones get names that other tools know by their ending: copies of large ones would double
    what the server keeps in memory.
    """
    _publish(stage, root, version, f"--packaging on {flags}")
    found: list[str] = []
    for package in _shown(stage, version)["packages"]:
        url = f"{stage.setting.store}/{package['key']}"
        if package["n_bytes"] < _MOST_COPIED_BYTES:
            copy = f"{_BUCKET}/packages/{version}-{len(found)}.zip"
            stage.run(f"{s5cmd(f'cat {url}')} | {s5cmd(f'pipe {copy}')}")
            url = copy
        found.append(url)
    return tuple(found)


def _write_one(path: Path, n_bytes: int) -> None:
    block = os.urandom(1 << 22)
    with path.open("wb") as file:
        for start in range(0, n_bytes, len(block)):
            file.write(block[: n_bytes - start])


@contextmanager
def _own_file_system(where: Path) -> Generator[Path]:
    """Give a folder that nobody else's writing disturbs: a mount of its own where that goes.

    That is where `where` is in memory and this is root; else just a folder there.
    """
    with tempfile.TemporaryDirectory(dir=where, prefix="bench-") as folder:
        is_mounted = os.geteuid() == 0 and _is_memory(where) and _mount(folder)
        try:
            yield Path(folder)
        finally:
            if is_mounted:
                subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(folder: str) -> bool:
    return not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=90%,nr_inodes=0", "tmpfs", folder], check=False
    ).returncode


def _is_memory(folder: Path) -> bool:
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", folder], check=True, capture_output=True, text=True
    )
    return kind.stdout.strip() == "tmpfs"


def remove(path: Path) -> None:
    """Remove whatever lies there, read-only or not."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        if os.geteuid() != 0:  # a resolved tree is read-only
            subprocess.run(["chmod", "-R", "u+w", path], check=True)
        shutil.rmtree(path)
