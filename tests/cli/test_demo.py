"""The demo: what it says is what happened, and what it prints to be typed works."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from prefect_datasets.cli import demo as command
from tests.cli.conftest import Run

pytestmark = pytest.mark.timeout(300)


@pytest.mark.slow  # starts Prefect's throw-away server
def test_the_demo_says_what_happened_and_how_to_look(
    environment: dict[str, str], tmp_path: Path
) -> None:
    # Settings of the user's that must not matter.
    env = {**environment, "PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_PROFILE": "mine"}
    done = subprocess.run(
        ["prefect-datasets", "demo", "--dir", str(tmp_path / "demo")],
        env=env,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "train again" in done.stdout
    assert "fetched nothing" in done.stdout
    assert "v1 with 18 changed, 18 added, 18 left out" in done.stdout
    commands = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert len(commands) == 4
    for line in commands:
        shown = subprocess.run(
            shlex.split(line), env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert (shown.returncode, shown.stderr) == (0, ""), line
    assert len(list((tmp_path / "demo" / "digits").rglob("*.png"))) == 1797
    assert not (Path(env["PREFECT_HOME"])).exists(), "the user's own home stays as it is"


@pytest.mark.slow
def test_the_demo_can_be_repeated(spawn: Run, tmp_path: Path) -> None:
    """In the same folder the versions exist and everything is cached."""
    first = spawn("demo", "--dir", tmp_path / "demo", "--json").json["steps"]
    second = spawn("demo", "--dir", tmp_path / "demo", "--json").json["steps"]
    fetched = [step["n_fetched_bytes"] for step in first]
    assert fetched[1] > 0
    assert fetched[2] == 0
    assert 0 < fetched[4] < fetched[1] / 2, "v2 fetches what changed"
    assert first[4]["n_linked_files"] == 1761
    assert [step["n_fetched_bytes"] for step in second] == [None, 0, 0, None, 0]
    assert min(step["accuracy"] for step in first if step["accuracy"]) > 0.95


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
