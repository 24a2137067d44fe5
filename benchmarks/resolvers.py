"""Who makes a directory from what is in the store, and the two limits of that."""

from __future__ import annotations

import json

from benchmarks.contender import OURS, Contender, Setting, find_program, program, rival

RESOLVE = f"{OURS} resolve"
UNPACKAGED = f"{OURS} resolve, published without packages"
S5CMD = "s5cmd, file by file"
RCLONE = "rclone, file by file"
RCLONE_ARCHIVE = "rclone :archive: of the package"
S3FS = "s3fs get(recursive=True)"
LOOP = "prefect-aws pull_from_s3, a loop"
DVC = "dvc pull"
CLEARML = "ClearML StorageManager"
PIPE = "s5cmd cat | bsdtar x"
BYTES = "limit: the bytes alone"
FILES = "limit: the files alone"

WORKERS = ("32", "64", "128", "256")
# One object: requests at once, and MiB in each.
PARTS = ("4 16", "8 8", "16 4")


def ours(arguments: str) -> str:
    """Return the command line of this project."""
    return f"{program(OURS)} {arguments}"


def s5cmd(arguments: str, workers: str = "64") -> str:
    """Return an s5cmd command."""
    return f"{program('s5cmd')} --log error --numworkers {workers} {arguments}"


def resolve(version: str = "v1") -> Contender:
    """Return our own: a resolve into an empty cache, every member checked."""
    return Contender(
        RESOLVE, lambda s: resolving(s, version), makes="files", facts=fetched, before=_no_cache
    )


def _no_cache(s: Setting) -> str:
    return f"rm -rf {s.cache}"


def resolving(s: Setting, version: str) -> str:
    """Return the command that resolves a version of the stage into the setting's cache."""
    return ours(
        f"resolve dataset://bench/{version} --to {s.target} --json --store {s.store} "
        f"--cache-dir {s.cache}"
    )


def fetched(output: str) -> dict[str, float]:
    """Return what our `--json` says of a resolve."""
    said = json.loads(output)
    return {"fetched_bytes": said["n_fetched_bytes"], "linked_files": said["n_linked_files"]}


def unpackaged() -> Contender:
    """Our own, of a version whose files are single objects."""
    return Contender(
        UNPACKAGED,
        lambda s: resolving(s, "loose"),
        makes="files",
        facts=fetched,
        rounds=2,
    )


def s5cmd_files() -> Contender:
    """The fastest known tool for single objects."""
    return Contender(
        S5CMD,
        lambda s: s5cmd(f"cp '{s.files.prefix}*' {s.target}/", s.tuning),
        makes="files",
        rounds=1,
        tunings=WORKERS,
        needs=("s5cmd",),
    )


def file_by_file() -> list[Contender]:
    """Those that fetch each object by itself."""
    return [
        s5cmd_files(),
        Contender(
            RCLONE,
            lambda s: (
                f"{program('rclone')} copy {rclone_path(s.files.prefix)} {s.target} "
                f"--transfers {s.tuning} --checkers {s.tuning} --ignore-times --use-server-modtime "
                "--ignore-checksum --no-check-dest --fast-list --multi-thread-streams 0 "
                "--s3-no-head --s3-no-head-object -q"
            ),
            makes="files",
            rounds=1,
            tunings=WORKERS,
            needs=("rclone",),
        ),
        Contender(
            S3FS,
            lambda s: rival(f"s3fs {s.files.prefix} {s.target}"),
            makes="files",
            rounds=1,
            is_sampled=True,
            needs=("module:s3fs",),
        ),
        Contender(
            LOOP,
            lambda s: rival(f"prefect-aws {s.files.prefix} {s.target}"),
            makes="files",
            rounds=1,
            is_sampled=True,
            needs=("module:prefect_aws",),
            is_small=False,
        ),
        dvc(),
    ]


def dvc() -> Contender:
    """DVC's pull of a tracked folder; its cache links, which spares it a copy of everything."""
    tool = find_program("dvc") or "dvc"
    return Contender(
        DVC,
        lambda s: (
            f"cp -a {_dvc_home(s)} {s.target}.dvc && cd {s.target}.dvc && {tool} pull -q -j 64 && "
            f"ln -s {s.target}.dvc/data {s.target}"
        ),
        once=lambda s: (
            f"rm -rf {_dvc_home(s)} && mkdir {_dvc_home(s)} && cd {_dvc_home(s)} && "
            f"{tool} init -q --no-scm && "
            f"{tool} config cache.type hardlink,symlink && "
            f"{tool} config core.site_cache_dir {s.target}.dvc/site && "
            f"{tool} remote add -q -d bench {s.store}/dvc/{s.files.n_files} && "
            f"cp -al {s.files.root} data && {tool} add -q data && {tool} push -q -j 64 && "
            "rm -rf data .dvc/cache .dvc/tmp"
        ),
        makes="files",
        rounds=1,
        is_sampled=True,
        needs=("dvc", "module:dvc_s3"),
        is_small=False,
    )


def _dvc_home(s: Setting) -> str:
    return f"{s.work}/dvc-{s.files.n_files}"


def pipe() -> Contender:
    """The fastest known pair of tools for the package."""
    return Contender(
        PIPE,
        lambda s: (
            f"mkdir {s.target} && for package in {' '.join(s.files.packages)}; do "
            f"{s5cmd(f'cat {parts(s)} $package')} | bsdtar -x -f - -C {s.target} || exit 1; done"
        ),
        makes="files",
        rounds=3,
        tunings=PARTS,
        tunes_on_sample=False,
        needs=("s5cmd", "bsdtar"),
    )


def package_and_tool() -> list[Contender]:
    """Those that fetch the package and unpack it; none of them checks a digest."""
    unzip = "&& mkdir {d} && unzip -q {d}.zip -d {d}"
    return [
        pipe(),
        _then("unzip", unzip, ("unzip",)),
        _then("7z x", "&& 7z x -y -bd {d}.zip -o{d} >/dev/null", ("7z",)),
        _then("zipfile", f"&& {rival('unzip {d}.zip {d}')}", ()),
        Contender(
            RCLONE_ARCHIVE,
            lambda s: (
                f"{program('rclone')} copy :archive:{rclone_path(s.package)} {s.target} "
                f"--transfers {s.tuning} --checkers 8 --ignore-times --no-check-dest -q"
            ),
            makes="files",
            rounds=1,
            is_sampled=True,
            tunings=("4", "16", "64"),
            needs=("rclone",),
            is_small=False,
        ),
        Contender(
            CLEARML,
            lambda s: rival(f"clearml {_with_host(_named_zip(s))} {s.target}"),
            once=_clearml_home,
            before=lambda s: f"rm -rf {s.work}/clearml.cache",
            makes="files",
            rounds=1,
            needs=("s5cmd", "module:clearml"),
            is_small=False,
        ),
    ]


def _then(tool: str, unpack: str, needs: tuple[str, ...]) -> Contender:
    return Contender(
        f"s5cmd, then {tool}",
        lambda s: (
            f"{s5cmd(f'cp {parts(s)} {s.package} {s.target}.zip')} " + unpack.format(d=s.target)
        ),
        makes="files",
        rounds=2,
        needs=("s5cmd", *needs),
        is_small=tool == "7z x",  # of the three the fastest
    )


def limits() -> list[Contender]:
    """Return what can't be beaten: each does a part of the work and checks nothing."""
    return [
        Contender(
            BYTES,
            lambda s: rival(f"bytes {s.tuning} {' '.join(s.files.packages)}"),
            tunings=PARTS,
            tunes_on_sample=False,
            rounds=5,
            is_limit=True,
        ),
        Contender(
            FILES,
            lambda s: f"{s.tools['files']} {s.target} {s.work}/list 2",
            rounds=5,
            is_limit=True,
            needs=("gcc",),
        ),
    ]


def parts(s: Setting) -> str:
    """Return s5cmd's flags for one large object."""
    at_once, mib = (s.tuning or "8 8").split()
    return f"--concurrency {at_once} --part-size {mib}"


def rclone_path(url: str) -> str:
    """Write an S3 URL as rclone does."""
    return url.replace("s3://", "bench:").rstrip("/")


def _with_host(url: str) -> str:
    """Write an S3 URL as ClearML does for a server that is not Amazon's."""
    return url.replace("s3://", "s3://${BENCH_ENDPOINT#http://}/")


def _clearml_home(s: Setting) -> str:
    """Write ClearML's configuration: no server, the S3 endpoint, a cache on the watched disk.

    It unpacks what ends in `.zip`, so the package is copied to such a name.
    """
    text = (
        'api { credentials { access_key: "", secret_key: "" } } '
        f'sdk {{ storage {{ cache {{ default_base_dir: "{s.work}/clearml.cache" }} }} '
        "aws { s3 { credentials: [ { "
        'host: "$HOST", key: "$AWS_ACCESS_KEY_ID", secret: "$AWS_SECRET_ACCESS_KEY", '
        "multipart: true, secure: false } ] } } }"
    )
    copy = s5cmd(f"cp {s.package} {_named_zip(s)}")
    return f"{copy} && HOST=${{BENCH_ENDPOINT#http://}}; cat > ~/clearml.conf <<EOF\n{text}\nEOF"


def _named_zip(s: Setting) -> str:
    return f"{s.store}/clearml/package.zip"
