"""How steps end: one clear error, the exit code, the outputs so far, and nothing that runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from prefect_datasets.valohai.errors import StepCancelledError, StepFailedError
from prefect_datasets.valohai.plan import Outcome
from prefect_datasets.valohai.running.runner import Control, NamespaceChoice
from tests.valohai.steps import Heard, Machine, all_gone, processes, until

OUTPUT = "echo kept > $VH_OUTPUTS_DIR/kept"
KINDS = ("bubblewrap", "unshare", "plain")


@pytest.fixture
def nap() -> str:
    """Seconds to sleep that no other process on this machine sleeps."""
    return f"99.{uuid.uuid4().int % 10**15}"


def failed(outcome: Outcome) -> StepFailedError:
    """Return the error of a step that failed; its outputs are there."""
    assert isinstance(outcome.error, StepFailedError)
    assert [output.path for output in outcome.outputs] == ["kept"]
    assert outcome.error.exit_code == outcome.exit_code
    return outcome.error


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("exit 3", 3, "failed with exit code 3"),
        ("kill -9 $$", 137, "ended by SIGKILL"),
        ("python -c 'import os; os.kill(os.getpid(), 11)'", 139, "ended by SIGSEGV"),
        ("no-such-command", 127, "not found"),
        ("/etc/passwd", 126, "can't be run"),
        ("echo x > /dev/full", 1, "The disk is full"),
        ("cd /no/such/folder", 1, "No such file or directory"),
    ],
)
def test_it_ends_itself(machine: Machine, command: str, code: int, says: str) -> None:
    outcome = machine.run(OUTPUT, command)
    assert outcome.exit_code == code
    assert says in str(failed(outcome))


def test_it_takes_too_long(machine: Machine, nap: str) -> None:
    outcome = machine.run(OUTPUT, f"sleep {nap}", time_limit=3)
    assert "time limit of 3 s" in str(failed(outcome))
    assert not processes(nap)


def test_it_is_silent_for_too_long(machine: Machine) -> None:
    chatty = "for i in 1 2 3 4; do echo $i; sleep 1; done"
    log = Heard()
    outcome = machine.run(OUTPUT, chatty, "sleep 62", no_output_timeout=3.5, log=log)
    assert "printed nothing for 3.5 s" in str(failed(outcome))
    assert log.lines == [*"1234"], "as long as it prints it goes on"


@pytest.mark.parametrize("kind", KINDS)
def test_it_leaves_daemons_behind(machine: Machine, kind: NamespaceChoice, nap: str) -> None:
    """One of them in a session of its own, with an orphan for a child, and deaf."""
    machine.namespace = kind
    daemon = f"(setsid bash -c \"trap '' TERM HUP; (sleep {nap}1 &) ; sleep {nap}2\" &)"
    log = Heard()
    outcome = machine.run(f"{daemon}; sleep {nap}3 & sleep 0.2; echo main", OUTPUT, log=log)
    assert outcome.error is None
    assert log.lines == ["main"]
    (warning,) = [each for each in log.warnings if "processes running" in each]
    assert f"sleep {nap}3" in warning
    assert not processes(nap)


def test_what_ends_soon_by_itself_may_do_so(machine: Machine) -> None:
    log = Heard()
    machine.run("echo hello > >(sleep 0.2; tee $VH_OUTPUTS_DIR/copy)", log=log)
    assert log.lines == ["hello"]
    assert log.warnings == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_cancelled(machine: Machine, kind: NamespaceChoice, nap: str) -> None:
    """It has the time to clean up, and takes it."""
    machine.namespace = kind
    control = Control()
    log = Heard(on_line=lambda line: control.cancel() if line == "ready" else None)
    outcome = machine.run(
        OUTPUT,
        f"trap 'echo cleaned up; exit 9' TERM; (setsid sleep {nap} &); echo ready; "
        "while :; do sleep 0.1; done",
        control=control,
        log=log,
    )
    assert isinstance(failed(outcome), StepCancelledError)
    assert outcome.exit_code == 9
    assert log.lines[-1] == "cleaned up"
    assert not processes(nap)


def test_it_is_deaf_when_cancelled(machine: Machine, nap: str) -> None:
    machine.grace_seconds = 0.3
    control = Control()
    log = Heard(on_line=lambda _: control.cancel())
    outcome = machine.run(
        OUTPUT, f"trap '' TERM; echo ready; sleep {nap}; sleep {nap}", control=control, log=log
    )
    assert isinstance(failed(outcome), StepCancelledError)
    assert outcome.exit_code == 137
    assert not processes(nap)


def test_it_is_cancelled_before_it_begins(machine: Machine) -> None:
    control = Control()
    control.cancel()
    outcome = machine.run("sleep 67", control=control)
    assert isinstance(outcome.error, StepCancelledError)
    assert outcome.seconds < 40


def test_it_is_cancelled_while_an_input_is_fetched(machine: Machine) -> None:
    """What is fetched by then is not lost, and nothing of the run is left."""
    machine.publish("dataset://pets/v1", {f"{n}": "x" * 1000 for n in range(50)})
    control = Control()

    class Fetching(Heard):
        def start(self, what: str, *, n_files: int, n_bytes: int) -> None:
            control.cancel()

    outcome = machine.run(
        "echo never", inputs={"x": "dataset://pets/v1"}, control=control, log=Fetching()
    )
    assert isinstance(outcome.error, StepCancelledError)
    assert outcome.exit_code == 125
    assert machine.kept() == []
    assert machine.run("true", inputs={"x": "dataset://pets/v1"}).error is None


_RUNNER = """
import signal, sys
from pathlib import Path
from tests.valohai import steps
machine = steps.machine(Path(sys.argv[1]))
machine.namespace = sys.argv[2]
log = steps.Heard(on_line=lambda line: print(line, flush=True))
try:
    writes = "echo kept > $VH_OUTPUTS_DIR/kept"
    machine.run(writes, f"(setsid sleep {sys.argv[3]} &); echo ready; sleep {sys.argv[3]}", log=log)
except KeyboardInterrupt:
    print("interrupted", log.warnings, flush=True)
"""


def started(root: Path, kind: str, nap: str) -> subprocess.Popen[str]:
    """Run a step in a process of its own, up to where it waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RUNNER, str(root), kind, nap],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("kind", KINDS)
def test_its_runner_is_killed(tmp_path: Path, kind: str, nap: str) -> None:
    with started(tmp_path, kind, nap) as process:
        assert until(lambda: len(processes(f"sleep\0{nap}")) == 2)
        process.kill()
    assert all_gone(nap)


def test_ctrl_c(tmp_path: Path, nap: str) -> None:
    with started(tmp_path, "auto", nap) as process:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        assert "interrupted" in said
    assert not processes(nap)
    (files,) = tmp_path.glob("store/outputs/*/files")
    assert [path.name for path in files.iterdir()] == ["kept"], "what it wrote is stored"


def test_its_supervisor_is_killed(machine: Machine, nap: str) -> None:
    """As the kernel may do where memory is short."""
    log = Heard(on_line=lambda _: kill_own("supervise.py"))
    outcome = machine.run(OUTPUT, f"echo ready; sleep {nap}", log=log)
    assert outcome.exit_code == 137
    assert "SIGKILL" in str(failed(outcome))
    assert all_gone(nap)


def kill_own(word: str) -> None:
    """Kill the processes with a word in their command line that this one has started."""
    for pid in processes(word):
        with suppress(OSError):  # it ended with another one
            parent = pid
            while parent > 1 and parent != os.getpid():
                status = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2]
                parent = int(status.split()[1])
            if parent == os.getpid():
                os.kill(pid, signal.SIGKILL)


def test_the_disk_is_full(tmp_path: Path) -> None:
    """A disk of its own that is too small for what the step prints and writes."""
    script = """
from pathlib import Path
import os, sys
from tests.valohai import steps
machine = steps.machine(Path(sys.argv[1]))
machine.root = Path(sys.argv[2])
log = steps.Heard()
fills = "cat /dev/zero > /valohai/outputs/big"
outcome = machine.run("echo kept > /valohai/outputs/kept", "seq 1000000", fills, log=log)
print(outcome.exit_code, outcome.error)
print([o.path for o in outcome.outputs], [w for w in log.warnings if "whole log" in w])
"""
    mounted = tmp_path / "small"
    mounted.mkdir()
    prefix = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    mount = f'mount -t tmpfs -o size=6m none {mounted} && exec "$@"'
    done = subprocess.run(
        [
            *prefix,
            "sh",
            "-c",
            mount,
            "sh",
            sys.executable,
            "-c",
            script,
            str(tmp_path),
            str(mounted),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    if "mount" in done.stderr and "ermission" in done.stderr:
        pytest.skip(done.stderr)
    first, second = done.stdout.splitlines()
    assert first.startswith("1 The disk is full (exit code 1)"), done
    assert "'kept'" in second
    assert "No space left" in second


def test_limits_and_cancelling_do_not_wait_for_output(machine: Machine) -> None:
    """A step that floods the pipe is ended as soon as one that is silent."""
    control = Control()
    timer = threading.Timer(1.0, control.cancel)
    timer.start()
    began = time.monotonic()
    outcome = machine.run(OUTPUT, "yes", control=control)
    assert isinstance(failed(outcome), StepCancelledError)
    assert time.monotonic() - began < 30
    timer.join()
