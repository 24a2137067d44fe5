"""PostgreSQL, from Debian's package or on the PATH, as the database of a Prefect server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import MissingServerError, free_ports, running

# Not on the PATH: Debian keeps several versions beside each other, and wraps them.
_DEBIAN = Path("/usr/lib/postgresql")
_USER = "postgres"  # whom it runs as where we are root, which it refuses to be


@contextmanager
def postgresql() -> Generator[str]:
    """Run PostgreSQL with an empty database; give the URL that SQLAlchemy's asyncpg takes."""
    binaries = _binaries()
    (port,) = free_ports(1)
    # Not below pytest's folder, which another user may not enter.
    with tempfile.TemporaryDirectory(prefix="prefect-datasets-postgresql-") as root:
        folder = Path(root)
        as_user = _hand_over(folder)
        data = folder / "data"
        make = [binaries / "initdb", "--pgdata", data, "--auth", "trust", "--username", _USER]
        subprocess.run(
            [*as_user, *make, "--no-sync", "--encoding", "UTF8", "--locale", "C"],
            check=True,
            capture_output=True,
            cwd=folder,
            timeout=100,
        )
        serve = [binaries / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1"]
        # Nothing here outlives a crash of the machine.
        settings = ["-c", "unix_socket_directories=", "-c", "fsync=off"]
        with running([*as_user, *serve, *settings], folder) as process:
            _wait(binaries, port, process)
            try:
                yield f"postgresql+asyncpg://{_USER}@127.0.0.1:{port}/postgres"
            finally:
                process.send_signal(signal.SIGINT)  # SIGTERM would wait for its clients
                process.wait(30)


def _binaries() -> Path:
    """Return the folder of the newest version."""
    found = [path.parent for path in _DEBIAN.glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda folder: int(folder.parent.name))
    if (on_path := shutil.which("postgres")) is None:
        raise MissingServerError("postgresql is not installed")
    return Path(on_path).resolve().parent


def _hand_over(folder: Path) -> list[str]:
    """Give a folder to the user that PostgreSQL runs as; return what runs a command as that one."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam(_USER)
    except KeyError:
        raise MissingServerError(f"PostgreSQL does not run as root, and no user {_USER}") from None
    os.chown(folder, user.pw_uid, user.pw_gid)
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"]
    return ["setpriv", *ids, "--clear-groups"]


def _wait(binaries: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    ask = [binaries / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(port)]
    end = time.monotonic() + 60
    while subprocess.run(ask, check=False).returncode:
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"PostgreSQL did not start: {process.args}")
        time.sleep(0.05)
