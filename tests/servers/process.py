"""Start a server for the tests, wait until it answers, end exactly what was started."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest


class Served(NamedTuple):
    """A store on a running server.

    Attributes:
        url: Its root, for `open_store`.
        options: Options of the filesystem, for `open_store`.
    """

    url: str
    options: dict[str, object]


class MissingServerError(Exception):
    """The program of a server is not installed."""


def unavailable(error: MissingServerError) -> NoReturn:
    """Skip the test that wants the program; in CI all of them are there, so the test fails."""
    if os.environ.get("CI") == "true":
        raise error
    pytest.skip(str(error))


def free_ports(n: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [held.getsockname()[1] for held in sockets]


def program(name: str) -> str:
    """Return the program `name`: beside this interpreter, or on the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise MissingServerError(f"{name} is not installed")
    return found


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path, *, env: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run a server while the block runs; its output goes to a log in `folder`."""
    name = Path(command[0]).name
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def wait_until_answers(url: str, *processes: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Wait until `url` gives any HTTP answer below 500.

    Raises:
        RuntimeError: A process ended, or the time is over.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ended := [process.args for process in processes if process.poll() is not None]:
            raise RuntimeError(f"The server ended as it started: {ended}")
        if _answers(opener, url):
            return
        time.sleep(0.03)
    raise RuntimeError(f"No answer after {seconds} s: {url}")


def _answers(opener: urllib.request.OpenerDirector, url: str) -> bool:
    try:
        opener.open(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.code < 500
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
