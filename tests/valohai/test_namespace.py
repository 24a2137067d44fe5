"""How a step gets its `/valohai`, where which tools are installed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.running.config_files import ExecutionInfo
from prefect_datasets.valohai.running.directories import Directories, Places
from prefect_datasets.valohai.running.namespace import Mount, View, bubblewrap, unshare
from prefect_datasets.valohai.running.runner import NamespaceChoice
from prefect_datasets.valohai.running.script import plan_script
from prefect_datasets.valohai.running.variables import PASSED, variables
from tests.valohai.steps import Heard, Machine

VIEW = View(
    links=(("/bin", "usr/bin"),),
    mounts=(Mount("/usr", "/usr"), Mount("/runs/out", "/valohai/outputs", is_read_only=False)),
    folder="/valohai/repository",
    scratch="/runs/root",
)


def test_the_command_of_bubblewrap() -> None:
    command = " ".join(bubblewrap(VIEW))
    for part in (
        "--unshare-pid",
        "--die-with-parent",
        "--symlink usr/bin /bin",
        "--ro-bind /usr /usr",
        "--bind /runs/out /valohai/outputs",
        "--chdir /valohai/repository --",
    ):
        assert part in command


@pytest.mark.parametrize("is_root", [True, False])
def test_the_command_of_unshare(is_root: bool) -> None:
    command = unshare(VIEW, is_root=is_root)
    assert ("--map-root-user" in command) is not is_root
    assert '["bind-read-only", "/usr", "/usr"]' in command[-1]


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with what a step needs, and no tool that makes namespaces."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("bash", "sh", "git", "cat", "ls", "mount"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def seen(machine: Machine) -> tuple[str, Sequence[str]]:
    """Return where a step finds its outputs, and what it was warned of."""
    log = Heard()
    outcome = machine.run("echo x > $VH_OUTPUTS_DIR/x; echo $VH_OUTPUTS_DIR", log=log)
    assert outcome.error is None, log.text
    assert machine.stored(outcome) == {"x": b"x\n"}
    return log.text, log.warnings


def test_without_bubblewrap_it_is_unshare(machine: Machine, only: Path) -> None:
    (only / "unshare").symlink_to(str(shutil.which("unshare", path="/usr/bin:/bin")))
    assert seen(machine) == ("/valohai/outputs", [])


def test_without_both_it_is_said_aloud(machine: Machine, only: Path) -> None:
    place, (warning,) = seen(machine)
    assert place.startswith(str(machine.runs))
    assert "There is no /valohai for this step" in warning
    assert "bubblewrap: not installed; unshare: not installed" in warning
    assert "VH_OUTPUTS_DIR" in warning


def test_one_that_is_asked_for_must_work(machine: Machine, only: Path) -> None:
    machine.namespace = "bubblewrap"
    outcome = machine.run("true")
    assert isinstance(outcome.error, InvalidInputError)
    assert "not installed" in str(outcome.error)


@pytest.mark.parametrize("kind", ["bubblewrap", "unshare"])
def test_what_a_step_can_change(machine: Machine, kind: NamespaceChoice) -> None:
    machine.namespace = kind
    script = (
        "for each in /etc /usr /var /root /valohai/config /valohai/inputs; do "
        "touch $each/x 2>/dev/null && echo changed $each; done; "
        "for each in /valohai/outputs /valohai/repository ~ /tmp /var/tmp /dev/shm; do "
        "touch $each/x || echo not $each; done; test -c /dev/null && test -d /proc/self"
    )
    log = Heard()
    outcome = machine.run(script, log=log)
    assert outcome.error is None
    assert log.lines == []


def test_it_sees_only_its_own_processes(machine: Machine) -> None:
    log = Heard()
    machine.run("ls -d /proc/[0-9]* | wc -l", log=log)
    assert int(log.text) < 10


# -- what else is decided before ------------------------------------------------------------------


def test_a_script_of_lines() -> None:
    script = plan_script(["cd x", "set -e\nfalse\n"], fail_fast=False, shell="bash")
    assert (script.text, script.interpreter) == ("cd x\nset -e\nfalse\n", ("bash",))
    stops = plan_script(["a", "b"], fail_fast=True, shell="sh").text.count("exit")
    assert stops == 2


@pytest.mark.parametrize(
    ("first", "interpreter", "stops"),
    [
        ("#!/bin/bash -x", ("/bin/bash", "-x"), True),
        ("#!/usr/bin/env python3", ("/usr/bin/env", "python3"), False),
        ("#!/usr/bin/env bash", ("/usr/bin/env", "bash"), True),
        ("#!", ("bash",), True),
    ],
)
def test_a_script_with_a_shebang(first: str, interpreter: tuple[str, ...], stops: bool) -> None:
    script = plan_script([f"{first}\nx"], fail_fast=True, shell="bash")
    assert script.interpreter == interpreter
    assert ("exit" in script.text) is stops


def test_variables_of_a_pipeline() -> None:
    info = ExecutionInfo(id="e1", project_id="p", more={"pipeline-id": "pi", "task-id": ""})
    found = variables({"HOME": "/own"}, info=info, places=Places.in_namespace(), machine={})
    assert found["VH_PIPELINE_ID"] == "pi"
    assert "VH_TASK_ID" not in found
    assert found["VH_JOB_ID"] == "exec-e1"
    assert found["HOME"] == "/own", "the step's own go before all"
    assert found["PATH"].startswith("/valohai/python/bin:")


def test_folders_go_away_whatever_is_in_them(tmp_path: Path) -> None:
    made = Directories.make(tmp_path, "e1")
    locked = made.outputs / "a" / "b"
    locked.mkdir(parents=True)
    (locked / "file").touch(mode=0o000)
    (locked / "link").symlink_to("/etc")
    locked.chmod(0o000)
    locked.parent.chmod(0o500)
    made.remove()
    assert not made.root.exists()
    assert Path("/etc").is_dir()


def test_the_documentation_names_every_variable_that_is_passed_on() -> None:
    text = (Path(__file__).parents[2] / "docs/steps.md").read_text()
    named = set(re.findall(r"`(\w+)`", text))
    assert {name for name in PASSED if name not in named and name.lower() not in named} == set()
