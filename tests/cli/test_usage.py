"""Wrong usage, bad input and trouble: one line, the right exit code, nothing half-made."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prefect_datasets.cli import main
from prefect_datasets.cli import read as reading
from tests.cli.conftest import Run

V1 = "dataset://pets/v1"

WRONG_USAGE = {
    "an unknown command": ["paint"],
    "an unknown option": ["list", "--colour"],
    "a shortened option": ["list", "--sto", "x"],
    "publish without a folder": ["publish"],
    "publish to nothing": ["publish", "pets", "--to", ""],
    "publish to an upper case name": ["publish", "pets", "--to", "dataset://Pets/v1"],
    "publish to latest": ["publish", "pets", "--to", "dataset://pets/latest"],
    "publish to a climbing name": ["publish", "pets", "--to", "dataset://../v1"],
    "publish to a path": ["publish", "pets", "--to", "dataset://pets/v1/more"],
    "an alias with a slash": ["publish", "pets", "--to", V1, "--alias", "a/b"],
    "an alias called latest": ["alias", V1, "latest"],
    "packaging maybe": ["publish", "pets", "--to", V1, "--packaging", "maybe"],
    "from nothing": ["publish", "pets", "--to", V1, "--from", "v0"],
    "show without a URI": ["show"],
    "show of a name": ["show", "pets"],
    "files of an URL": ["files", "s3://bucket/key"],
    "diff of one": ["diff", V1],
    "list of a wrong name": ["list", "Pets"],
    "verify quick and deep": ["verify", V1, "--quick", "--deep"],
    "package without a version": ["package", "dataset://pets"],
    "delete of an empty name": ["delete", "dataset:///v1"],
    "resolve of a name": ["resolve", "pets"],
    "shard beyond the last": ["resolve", V1, "--shard", "3/3"],
    "shard of none": ["resolve", V1, "--shard", "0/0"],
    "shard without a number": ["resolve", V1, "--shard", "first"],
    "a link of another kind": ["resolve", V1, "--link", "chain"],
    "cache alone": ["cache"],
    "cache with a wrong size": ["cache", "prune", "--max-bytes", "much"],
}


@pytest.mark.parametrize("arguments", WRONG_USAGE.values(), ids=WRONG_USAGE.keys())
def test_wrong_usage_is_2_and_one_line(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("prefect-datasets")
    assert done.err.count("\n") == 1


def test_names_that_cannot_be_published_have_a_line_each(run: Run, pets: Path) -> None:
    (pets / "a\nb").touch()
    os.mkfifo(pets / "pipe")
    done = run("publish", pets, "--to", V1, "--store", "./store")
    assert done.code == 1
    lines = done.err.splitlines()
    assert lines[0].endswith("Rename, replace or remove:")
    assert [line.partition(":")[0] for line in lines[1:]] == [r"  'a\nb'", "  'pipe'"]
    assert not Path("store").exists()


def test_a_closed_output_is_no_failure(store: str) -> None:
    program = 'exec prefect-datasets list --store "$0" >&-'
    done = subprocess.run(
        ["sh", "-c", program, store], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_what_the_caller_closed_is_done_without(
    run: Run, pets: Path, store: str, tmp_path: Path, closed: str
) -> None:
    run("publish", pets, "--to", V1, "--store", store)
    program = f'exec prefect-datasets resolve {V1} --store "$0" --cache-dir "$1" {closed}'
    command = ["sh", "-c", program, store, str(tmp_path / "cache")]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
    assert [*(tmp_path / "cache").glob("versions/*/*/ready")]


FAILURES = {
    "no such folder": (["publish", "nowhere", "--to", V1], "nowhere"),
    "a file for a folder": (["publish", "pets/größe.txt", "--to", V1], "pets/größe.txt"),
    "options without a version": (["publish", "pets", "--alias", "prod"], "--alias"),
    "a folder that declares nothing": (["publish", "pets"], "pets"),
    "a base that isn't there": (
        ["publish", "pets", "--to", V1, "--from", "dataset://pets/v0"],
        "dataset://pets/v0",
    ),
    "no such version": (["show", V1], V1),
    "no version at all": (["show", "dataset://pets/latest"], "pets"),
    "no such dataset": (["list", "pets"], "pets"),
    "files of nothing": (["files", V1], V1),
    "diff with nothing": (["diff", V1, V1], V1),
    "alias of nothing": (["alias", V1, "prod"], V1),
    "package of nothing": (["package", V1], V1),
    "verify of nothing": (["verify", V1], V1),
    "delete of nothing": (["delete", V1, "--yes"], V1),
    "resolve of nothing": (["resolve", V1], V1),
    "an empty store": (["list", "--store", ""], "--store"),
    "an unknown scheme": (["list", "--store", "nope://bucket"], "nope"),
    "a store that is a file": (["list", "--store", "pets/größe.txt"], "größe.txt"),
}


@pytest.mark.usefixtures("pets")
@pytest.mark.parametrize(("arguments", "named"), FAILURES.values(), ids=FAILURES.keys())
def test_failures_are_1_and_one_line_that_names_the_object(
    run: Run, arguments: list[str], named: str, tmp_path: Path
) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (1, "")
    assert named in done.err
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob("home/**/outputs")), "nothing was stored"


def test_faults_in_metadata_are_all_told(run: Run, pets: Path) -> None:
    lines = ["no JSON", '{"file": "nowhere.txt", "metadata": {}}', "[]"]
    (pets / "valohai.metadata.jsonl").write_text("\n".join(lines))
    done = run("publish", pets)
    assert done.code == 1
    first, *faults = done.err.splitlines()
    assert "valohai.metadata.jsonl" in done.err
    assert first.startswith("prefect-datasets: ")
    assert len(faults) == 3, done.err


def test_names_that_the_terminal_would_obey_are_shown(run: Run) -> None:
    done = run("list", "--store", "nope://\x1b[2Jgone\nnext")
    assert "\x1b" not in done.err
    assert done.err.count("\n") == 1


def test_no_command_shows_help(run: Run) -> None:
    done = run()
    assert done.code == 2
    assert "publish" in done.err


def test_help_of_every_command(run: Run) -> None:
    commands = ["demo", "publish", "package", "list", "show", "files", "diff", "resolve"]
    commands += ["verify", "alias", "delete", "gc"]
    for command in [[name] for name in commands] + [
        ["cache", action] for action in ("list", "prune", "verify", "clear")
    ]:
        done = run(*command, "--help")
        assert (done.code, done.err) == (0, "")
        assert "--json" in done.out


def test_an_unexpected_error_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "list_", _fail)
    done = run("list")
    assert done.code == 1
    assert "ZeroDivisionError" in done.err
    assert "PREFECT_DATASETS_DEBUG=1" in done.err
    assert done.err.count("\n") == 1
    monkeypatch.setenv("PREFECT_DATASETS_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def _fail(_: object) -> int:
    return 1 // 0


def test_whoever_reads_may_stop(run: Run, pets: Path, environment: dict[str, str]) -> None:
    """As `prefect-datasets files … | head -1` does, with more than a pipe's worth of lines."""
    for number in range(3000):
        (pets / f"{number}-{'x' * 60}.txt").touch()
    assert run("publish", pets, "--to", V1).code == 0
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; prefect-datasets files {V1} | head -n 1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


INTERRUPTED = "prefect-datasets: interrupted; the same command goes on where it was\n"


def test_interrupt_is_130_and_one_line(run: Run, pets: Path, environment: dict[str, str]) -> None:
    for number in range(20_000):
        (pets / f"{number}.txt").touch()
    command = ["prefect-datasets", "publish", str(pets), "--to", V1]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        store = Path(environment["PREFECT_HOME"]) / "datasets" / "store"
        while process.poll() is None and not list(store.glob("outputs/*/files")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, INTERRUPTED)
    assert not list(store.glob("datasets/*/v1.json"))
    assert run("publish", pets, "--to", V1).code == 0


INTERRUPTED_WHILE_LOADING = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "prefect_datasets.cli.run":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from prefect_datasets.cli import main
sys.exit(main())
"""


def test_so_is_one_while_modules_are_loaded(environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", INTERRUPTED_WHILE_LOADING, "list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, INTERRUPTED)


@pytest.mark.parametrize("n_interrupts", [1, 2])
@pytest.mark.parametrize(
    "command", [["list"], ["publish", "pets", "--to", V1]], ids=["list", "publish"]
)
@pytest.mark.usefixtures("pets")
def test_a_store_that_does_not_answer_holds_up_no_interrupt(
    environment: dict[str, str], command: list[str], n_interrupts: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "x"}
        with subprocess.Popen(
            ["prefect-datasets", *command, "--store", "s3://bucket"],
            env={**environment, **keys, "AWS_ENDPOINT_URL": address},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            connection, _ = silent.accept()
            began = time.monotonic()
            for _ in range(n_interrupts):
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)
            _, err = process.communicate(timeout=60)
            took = time.monotonic() - began
            connection.close()
    assert (process.returncode, err) == (130, INTERRUPTED)
    assert took < (4 if n_interrupts == 2 else 15)
