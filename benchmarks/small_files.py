"""Many small files, published to and resolved from a real S3 server on this machine, side by side.

    python -m benchmarks.small_files [--files 20000] [--bytes 10240] [--rounds 3] [--work /dev/shm]

Each round runs every contender once, in another order, each in a fresh process with fresh folders
and caches. What a contender wrote is compared with the originals by sha256. Ratios are taken within
a round, so that a machine that speeds up or slows down changes both sides.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import Measured, run
from tests.servers.process import Served, program
from tests.servers.s3 import KEY, SECRET, seaweedfs

N_FOLDERS = 20


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a round takes place.

    Attributes:
        files: The original files.
        work: A folder on the watched file system.
        store: The store's URL.
        env: The environment of the contenders.
    """

    files: Path
    work: Path
    store: str
    env: dict[str, str]

    def fresh(self, name: str) -> Path:
        """Return a folder that does not exist."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: For the table.
        command: What bash runs, from the setting and a fresh folder.
        checks: Whether the fresh folder must hold the files afterwards.
    """

    name: str
    command: Callable[[Setting, Path], str]
    checks: bool = True


def ours(arguments: str) -> str:
    """Return the command line of this project."""
    return f"{program('prefect-datasets')} {arguments}"


def publishers(number: int) -> list[Contender]:
    """Return who publishes; `number` makes names unique."""
    s5cmd = f"{program('s5cmd')} --log error --numworkers 64"
    to = f"--to dataset://bench/p{number}"
    return [
        Contender(
            "prefect-datasets publish: files, package, table",
            lambda s, _: ours(f"publish {s.files} {to} --packaging on --store {s.store}/ours"),
            checks=False,
        ),
        Contender(
            "s5cmd: the files alone",
            lambda s, _: f"{s5cmd} cp '{s.files}/' {s.store}/s5cmd-{number}/",
            checks=False,
        ),
        Contender(
            "zip -0, then s5cmd: the zip alone",
            lambda s, d: (
                f"mkdir {d} && cd {s.files} && zip -0 -q -r {d}/z.zip . && "
                f"{s5cmd} cp {d}/z.zip {s.store}/zip-{number}.zip"
            ),
            checks=False,
        ),
    ]


def resolvers(package: str, prefix: str) -> list[Contender]:
    """Return who resolves: `package` and `prefix` are URLs of the zip and of the single files."""
    s5cmd = f"{program('s5cmd')} --log error --numworkers 64"
    found = [
        Contender(
            "prefect-datasets resolve",
            lambda s, d: ours(
                f"resolve dataset://bench/v1 --to {d} --store {s.store}/ours --cache-dir {d}.cache"
            ),
        ),
        Contender(
            "s5cmd: file by file",
            lambda _, d: f"{s5cmd} cp '{prefix}*' {d}/",
        ),
        Contender(
            "s5cmd, then unzip",
            lambda _, d: f"mkdir {d} && {s5cmd} cp {package} {d}.zip && unzip -q {d}.zip -d {d}",
        ),
    ]
    if shutil.which("bsdtar"):
        piped = Contender(
            "s5cmd cat | bsdtar x (verifies nothing)",
            lambda _, d: f"mkdir {d} && {s5cmd} cat {package} | bsdtar -x -f - -C {d}",
        )
        found.append(piped)
    return found


def write_originals(root: Path, n_files: int, n_bytes: int) -> None:
    """Write files of random bytes into folders."""
    made = random.Random(7)
    for number in range(n_files):
        path = root / f"class{number % N_FOLDERS:02}" / f"image_{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.randbytes(n_bytes))


def digest_of(root: Path) -> str:
    """Return one digest over the paths and contents of all files below `root`."""
    root = root.resolve()
    paths = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())

    def one(path: str) -> bytes:
        return path.encode() + b"\0" + hashlib.sha256((root / path).read_bytes()).digest()

    with ThreadPoolExecutor(2) as pool:
        return hashlib.sha256(b"".join(pool.map(one, paths))).hexdigest()


def play(
    contenders: Sequence[Contender], setting: Setting, expected: str, order: random.Random
) -> dict[str, Measured]:
    """Run each contender once, in some order, and check what it wrote."""
    results: dict[str, Measured] = {}
    for contender in order.sample(contenders, len(contenders)):
        target = setting.fresh("target")
        command = contender.command(setting, target)
        results[contender.name] = run(command, watched=setting.work, env=setting.env)
        if contender.checks and digest_of(target) != expected:
            sys.exit(f"{contender.name} wrote other bytes than the originals")
        for left in setting.work.glob("target*"):
            left.unlink() if left.is_file() or left.is_symlink() else shutil.rmtree(left)
        print(f"  {results[contender.name].seconds:7.2f} s  {contender.name}", file=sys.stderr)
    return results


def table(title: str, rounds: Sequence[dict[str, Measured]]) -> str:
    """Write a Markdown table; the first contender is the one that others are compared with."""
    names = sorted(rounds[0], key=lambda name: not name.startswith("prefect-datasets"))
    first = names[0]
    rows = [
        f"| {title} | seconds | ratio | CPU s | memory MB | disk MB |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        runs = [results[name] for results in rounds]
        ratios = [results[name].seconds / results[first].seconds for results in rounds]
        spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"
        cells = (
            f"{statistics.median(r.seconds for r in runs):.2f}",
            spread,
            f"{statistics.median(r.cpu_seconds for r in runs):.2f}",
            f"{max(r.peak_bytes for r in runs) / 1e6:.0f}",
            f"{max(r.peak_disk_bytes for r in runs) / 1e6:.0f}",
        )
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def measure(served: Served, arguments: argparse.Namespace, work: Path) -> dict[str, object]:
    """Play all rounds; return what was measured."""
    files = work / "originals"
    write_originals(files, arguments.files, arguments.bytes)
    expected = digest_of(files)
    env = environment(served)
    setting = Setting(files, work, served.url.rstrip("/"), env)
    order = random.Random(1)
    published = [
        play(publishers(number), setting, expected, order) for number in range(arguments.rounds)
    ]
    package, prefix = first_version(setting)
    resolved = [
        play(resolvers(package, prefix), setting, expected, order) for _ in range(arguments.rounds)
    ]
    print(table("publish", published))
    print()
    print(table("resolve", resolved))
    return {
        "files": arguments.files,
        "bytes": arguments.bytes,
        "publish": [{name: asdict(m) for name, m in results.items()} for results in published],
        "resolve": [{name: asdict(m) for name, m in results.items()} for results in resolved],
    }


def first_version(setting: Setting) -> tuple[str, str]:
    """Publish what is to be resolved; return URLs of its package and of its single files."""
    store = f"{setting.store}/ours"
    publish = f"publish {setting.files} --to dataset://bench/v1 --packaging on --store {store}"
    run(ours(publish), watched=setting.work, env=setting.env)
    shown = setting.work / "shown.json"
    show = ours(f"show dataset://bench/v1 --json --store {store}") + f" > {shown}"
    run(show, watched=setting.work, env=setting.env)
    key = json.loads(shown.read_text())["packages"][0]["key"]
    execution = key.split("/")[1]
    return f"{store}/{key}", f"{store}/outputs/{execution}/files/"


def environment(served: Served) -> dict[str, str]:
    """Return an environment in which every contender finds the server."""
    endpoint = str(served.options["endpoint_url"])
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": endpoint,
        "S3_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
    }


def main() -> None:
    """Measure and print; keep the raw figures where `--json` says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=10_240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("/dev/shm"), help="a memory file system")
    parser.add_argument("--json", type=Path, help="where to keep the raw figures")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as server,
        tempfile.TemporaryDirectory(dir=arguments.work) as work,
        seaweedfs(Path(server)) as served,
    ):
        figures = measure(served, arguments, Path(work))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
