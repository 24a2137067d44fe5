"""The progress bar, on a terminal of its own, and the silence elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from prefect_datasets.cli.progress import ProgressBar, WarningsOnly
from tests.cli.conftest import Run

V1 = "dataset://pets/v1"


def on_a_terminal(command: list[str], env: dict[str, str], *, columns: int) -> tuple[int, str, str]:
    """Run with standard error on a terminal; return exit code, standard output, terminal output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            seen += piece
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    return process.returncode, out.decode(), seen.decode()


@pytest.mark.parametrize("columns", [40, 120])
def test_a_terminal_sees_a_bar_that_ends_full(
    pets: Path, environment: dict[str, str], columns: int
) -> None:
    (pets / "large.bin").write_bytes(bytes(64 << 20))
    command = ["prefect-datasets", "publish", str(pets), "--to", V1, "--packaging", "on"]
    code, out, seen = on_a_terminal(command, environment, columns=columns)
    assert code == 0, seen
    assert out == f"{V1}  7 files, 67 MB, 1 package\n"
    drawn = [line for line in re.split(r"[\r\n]+", seen) if f"{V1} [" in line]
    assert max(len(line.removesuffix("\x1b[K")) for line in drawn) < columns
    shares = [int(share) for share in re.findall(r"(\d+)%", seen)]
    if columns == 120:
        assert shares == sorted(shares), "it never goes back"
        assert (shares[0], shares[-1]) == (0, 100)
        assert "7/7 files  67 MB/67 MB" in drawn[-1]
    assert "(dataset version package 1/1) uploading pets.v1.vhpkgzip (67 MB)" in seen
    assert seen.endswith("\n")


def test_elsewhere_there_is_silence(spawn: Run, pets: Path) -> None:
    done = spawn("publish", pets, "--to", V1, "--packaging", "on")
    assert (done.code, done.err) == (0, "")


def test_warnings_are_told_in_any_case(spawn: Run, pets: Path) -> None:
    assert spawn("publish", pets, "--to", V1).code == 0
    options = ("--from", V1, "--exclude", "birds/*")
    done = spawn("publish", pets, "--to", "dataset://pets/v2", *options)
    assert done.code == 0
    assert done.err.startswith("warning: ")
    assert "birds/*" in done.err


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_notes_stand_above_the_bar() -> None:
    terminal = _Terminal()
    bar = ProgressBar(terminal)
    bar.start("fetching", n_files=4, n_bytes=1000)
    bar.advance(n_files=1, n_bytes=250)
    bar.note("half a note")
    bar.warn("look out")
    bar.close()
    lines = [
        line.rpartition("\r")[2].replace("\x1b[K", "") for line in terminal.getvalue().split("\n")
    ]
    assert lines[0] == "half a note"
    assert lines[1] == "warning: look out"
    assert lines[2].startswith("fetching [######------------------]  25%  1/4 files  250 B/1 kB")
    assert lines[3:] == [""]


def test_work_without_bytes_is_counted_in_files() -> None:
    terminal = _Terminal()
    bar = ProgressBar(terminal)
    bar.start("deleting", n_files=4, n_bytes=0)
    bar.advance(n_files=2, n_bytes=0)
    bar.close()
    assert "[############------------]  50%  2/4 files" in terminal.getvalue()


def test_nothing_to_do_is_done() -> None:
    terminal = _Terminal()
    bar = ProgressBar(terminal)
    bar.start("fetching", n_files=0, n_bytes=0)
    bar.close()
    assert "100%" in terminal.getvalue()


def test_only_warnings() -> None:
    stream = io.StringIO()
    quiet = WarningsOnly(stream)
    quiet.start("fetching", n_files=1, n_bytes=1)
    quiet.advance(n_files=1, n_bytes=1)
    quiet.note("nothing")
    quiet.warn("something")
    quiet.close()
    assert stream.getvalue() == "warning: something\n"
