"""The demo: what it says is what happened, and what it prints to be typed works."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from prefect_datasets.cli import demo as command
from tests.cli.conftest import Run

pytestmark = pytest.mark.timeout(300)


@pytest.mark.slow  # starts Prefect's throw-away server, twice
def test_the_demo_says_what_happened_and_how_to_look(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """And again in the same folder, where the versions exist and everything is cached."""
    # Settings of the user's that must not matter.
    env = {**environment, "PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_PROFILE": "mine"}
    command = ["prefect-datasets", "demo", "--dir", str(tmp_path / "demo")]
    steps = json.loads(output_of([*command, "--json"], env))["steps"]
    fetched = [step["n_fetched_bytes"] for step in steps]
    assert fetched[1] > 0
    assert fetched[2] == 0
    assert 0 < fetched[4] < fetched[1] / 2, "v2 fetches what changed"
    assert steps[4]["n_linked_files"] == 1761
    assert min(step["accuracy"] for step in steps if step["accuracy"]) > 0.95

    told = output_of(command, env).splitlines()
    (changed,) = [line for line in told if line.startswith("publish v2")]
    assert "v1 with 18 changed, 18 added, 18 left out" in changed
    trained = [line for line in told if line.startswith("train")]
    assert ["fetched nothing" in line for line in trained] == [True] * 3
    commands = [line for line in told if line.startswith("  ")]
    assert len(commands) == 4
    for line in commands:
        output_of(shlex.split(line), env)
    assert len(list((tmp_path / "demo" / "digits").rglob("*.png"))) == 1797
    assert not (Path(env["PREFECT_HOME"])).exists(), "the user's own home stays as it is"


def output_of(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=250, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), command
    return done.stdout


def test_without_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "PIL" else name)
    done = run("demo", "--dir", tmp_path / "demo")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "prefect-datasets: The demo needs pillow. "
        'Install with: pip install "prefect-datasets[demo]".\n'
    )
    assert not (tmp_path / "demo").exists()


def test_a_file_for_a_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    done = run("demo", "--dir", tmp_path / "demo")
    assert (done.code, done.err.count("\n")) == (1, 1)
