"""Who packs and who uploads."""

from __future__ import annotations

from benchmarks.contender import OURS, Contender, Setting, program, rival
from benchmarks.resolvers import WORKERS, ours, rclone_path, s5cmd

PUBLISH = f"{OURS} publish: files, package, table"
PUBLISH_PACKAGES = f"{OURS} publish --individual-files off: package, table"
S5CMD_FILES = "s5cmd, the files alone"
RCLONE_FILES = "rclone, the files alone"
S5CMD_ONE = "s5cmd, one file of the package's size"
ZIP_THEN_S5CMD = "zip -0, then s5cmd: the zip alone"

PACK = f"{OURS} publish to a folder: package, table"
ZIP = "zip -0"
ZIPFILE = "Python's zipfile"
TAR = "tar"


def packers() -> list[Contender]:
    """Return who makes one file on the local file system."""
    return [
        Contender(PACK, lambda s: _publish(s, str(s.target), "off")),
        Contender(
            ZIP,
            lambda s: f"mkdir {s.target} && cd {s.files.root} && zip -0 -q -r {s.target}/z.zip .",
            needs=("zip",),
            rounds=3,
        ),
        Contender(
            ZIPFILE,
            lambda s: f"mkdir {s.target} && {rival(f'zip {s.files.root} {s.target}/z.zip')}",
            rounds=3,
        ),
        Contender(
            TAR,
            lambda s: f"mkdir {s.target} && tar -cf {s.target}/z.tar -C {s.files.root} .",
            needs=("tar",),
            rounds=3,
        ),
    ]


def publishers() -> list[Contender]:
    """Return who uploads."""
    return [
        Contender(PUBLISH, lambda s: _publish(s, s.bucket, "on"), uploads=True, rounds=2),
        Contender(
            S5CMD_FILES,
            lambda s: s5cmd(f"cp '{s.files.root}/' {s.bucket}/", s.tuning),
            uploads=True,
            rounds=2,
            tunings=WORKERS,
            needs=("s5cmd",),
        ),
        Contender(
            RCLONE_FILES,
            lambda s: (
                f"{program('rclone')} copy {s.files.root} {rclone_path(s.bucket)} "
                f"--transfers {s.tuning} --checkers {s.tuning} --ignore-times --no-check-dest "
                "--ignore-checksum --s3-no-head --s3-disable-checksum --s3-no-check-bucket -q"
            ),
            uploads=True,
            rounds=1,
            tunings=WORKERS,
            needs=("rclone",),
        ),
    ]


def package_publishers() -> list[Contender]:
    """Return who uploads the package alone."""
    return [
        Contender(PUBLISH_PACKAGES, lambda s: _publish(s, s.bucket, "off"), uploads=True),
        Contender(
            S5CMD_ONE,
            lambda s: s5cmd(f"cp {_parts(s)} {s.one_file} {s.bucket}/one.zip"),
            uploads=True,
            rounds=5,
            tunings=("5 50", "8 16", "16 8"),
            tunes_on_sample=False,
            needs=("s5cmd",),
        ),
        Contender(
            ZIP_THEN_S5CMD,
            lambda s: (
                f"mkdir {s.target} && cd {s.files.root} && zip -0 -q -r {s.target}/z.zip . && "
                + s5cmd(f"cp --concurrency 8 --part-size 16 {s.target}/z.zip {s.bucket}/z.zip")
            ),
            uploads=True,
            rounds=2,
            needs=("s5cmd", "zip"),
        ),
    ]


def _publish(s: Setting, store: str, individual_files: str) -> str:
    return ours(
        f"publish {s.files.root} --to dataset://bench/p --packaging on "
        f"--individual-files {individual_files} --store {store}"
    )


def _parts(s: Setting) -> str:
    at_once, mib = s.tuning.split()
    return f"--concurrency {at_once} --part-size {mib}"
