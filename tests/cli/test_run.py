"""`run`: a step from the command line, and what is refused before it runs."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.servers.process import program
from tests.valohai.files import write

FILE = """
    - step:
        name: train
        image: python:3.11
        command:
          - 'echo {parameters} > /valohai/outputs/parameters.txt'
          - 'echo "$LEVEL $MINE" > /valohai/outputs/level.txt'
          - 'cp -r /valohai/inputs/data /valohai/outputs/data'
          - 'echo training; echo ''{"accuracy": 0.5}'''
        parameters:
          - {name: epochs, type: integer, default: 1, min: 1}
          - {name: layers, type: integer, multiple: separate, optional: true}
          - {name: fast, type: flag}
        inputs:
          - {name: data, default: "file://PETS/cats/*.txt"}
          - {name: extra, optional: true, default: "s3://never/asked"}
        environment-variables:
          - {name: LEVEL, default: info}
    - step:
        name: fail
        image: any
        command: ["echo kept > /valohai/outputs/kept.txt", "exit 7"]
    - step:
        name: long
        image: any
        command: ["echo kept > /valohai/outputs/kept.txt", "echo asleep", "sleep 600"]
    - step:
        name: publish
        image: any
        command:
          - cp *.yaml /valohai/outputs/
          - 'echo ''{"file": "valohai.yaml", "metadata": {"valohai.dataset-versions":
            [{"uri": "dataset://files/v1", "packaging": true}]}}'' >
            /valohai/outputs/valohai.metadata.jsonl'
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, pets: Path) -> Path:
    return write(tmp_path, FILE.replace("PETS", str(pets)))


def outputs(tmp_path: Path, execution: str) -> dict[str, str]:
    """Return the stored outputs of a run in the embedded store."""
    root = tmp_path / "home" / "prefect" / "datasets" / "store" / "outputs" / execution / "files"
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_text() for path in files}


def test_a_step_runs_with_its_defaults(run: Run, tmp_path: Path) -> None:
    done = run("run", "train", "-i", "extra=", "--json")
    assert done.code == 0, done.err
    assert outputs(tmp_path, done.json["execution"]) == {
        "data/1.txt": "I am cats/1\n",
        "data/2.txt": "I am cats/2\n",
        "level.txt": "info \n",
        "parameters.txt": "--epochs=1\n",
    }
    assert done.json["metadata"]["accuracy"] == 0.5
    assert "training" in done.err.splitlines()  # as it comes, beside the result
    assert done.json["error"] is None


def test_everything_can_be_given(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "from here")
    done = run(
        *["run", "train", "--file", "valohai.yaml", "--json"],
        *["-p", "epochs=3", "--parameter", "layers=1", "-p", "layers=2", "-p", "fast=yes"],
        *["-i", "data=pets/dogs/1.txt", "--input", f"data=file://{tmp_path}/pets/dogs/2.txt"],
        *["-i", "extra=", "-e", "LEVEL=debug", "--env", "MINE"],
    )
    assert done.code == 0, done.err
    found = outputs(tmp_path, done.json["execution"])
    assert found["parameters.txt"] == "--epochs=3 --layers=1,2 --fast\n"
    assert found["level.txt"] == "debug from here\n"
    assert {"data/1.txt", "data/2.txt"} < found.keys()
    assert done.json["parameters"] == {"epochs": 3, "layers": [1, 2], "fast": True}


def test_a_failed_step_ends_with_one_and_tells_its_own_code(run: Run, tmp_path: Path) -> None:
    done = run("run", "fail")
    assert done.code == 1
    assert "exit code 7" in done.out
    assert "exit code 7" in done.err.splitlines()[-1]
    execution = done.out.split()[1]
    assert outputs(tmp_path, execution) == {"kept.txt": "kept\n"}
    assert run("run", "fail", "--json").json["exit_code"] == 7


def test_the_last_command_alone_decides_where_that_is_asked_for(run: Run, file: Path) -> None:
    file.write_text("- step: {name: s, image: any, command: ['false', 'true']}")
    assert run("run", "s").code == 1
    assert run("run", "s", "--on-failure", "go-on").code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_an_interrupted_step_wrote_is_stored(
    file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    store = tmp_path / "store"
    command = [program("prefect-datasets"), "run", "long", "-f", str(file), "--store", str(store)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stderr is not None
        assert any("asleep" in line for line in running.stderr)
        running.send_signal(number)
        rest = running.stderr.read()
        assert running.wait(60) == 130
    assert rest.endswith("prefect-datasets: interrupted; what the step wrote so far is stored\n")
    assert len(list(store.glob("outputs/*/files/kept.txt"))) == 1


def test_versions_are_made_and_shown(run: Run) -> None:
    done = run("run", "publish", "-e", "VH_ENABLE_DATASET_VERSION_PACKAGING=1")
    assert done.code == 0, done.err
    assert "dataset://files/v1  1 file" in done.out
    assert "(dataset version package 1/1) uploading files.v1.vhpkgzip" in done.err
    assert run("resolve", "dataset://files/v1").code == 0


WRONG = {
    "no step": (["run"], "Nothing says what to run: valohai.yaml. Name a step. There are train,"),
    "an unknown step": (["run", "trian"], "No such step 'trian': valohai.yaml. Did you mean 'tra"),
    "an unknown pipeline": (["run", "--pipeline", "all"], "No such pipeline 'all'"),
    "both": (["run", "train", "--pipeline", "all"], "A step and a pipeline at once"),
    "no file": (["run", "train", "-f", "other.yaml"], "No such file: other.yaml. Did you mean"),
    "no value": (["run", "train", "-p", "epochs"], "-p/--parameter: not NAME=VALUE: 'epochs'"),
    "a wrong value": (["run", "train", "-p", "epochs=0"], "'epochs' is out of its limits: '0'."),
    "two for one": (["run", "train", "-p", "epochs=1", "-p", "epochs=2"], "takes one value"),
    "an unknown input": (["run", "train", "-i", "dat=s3://b/k"], "Did you mean 'data'?"),
    "nothing for what needs it": (["run", "train", "-i", "data="], "Input 'data' has no URI"),
    "an unset variable": (["run", "train", "-e", "NOT_SET"], "you have no variable 'NOT_SET'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_before_anything_runs(run: Run, tmp_path: Path, case: str) -> None:
    arguments, told = WRONG[case]
    done = run(*arguments)
    assert done.code == 2
    assert told in done.err
    assert not done.out
    assert not (tmp_path / "home" / "prefect" / "datasets").exists()


def test_a_broken_file_is_wrong_usage(run: Run, file: Path) -> None:
    file.write_text("- step: {name: a, image: b}")
    done = run("run", "a")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "prefect-datasets: step 'a': command is missing: valohai.yaml:1. Add `command:`.\n"
    )


@pytest.mark.slow
def test_with_an_api_it_is_a_flow_run(spawn: Run, prefect_api: str, tmp_path: Path) -> None:
    env = {"PREFECT_API_URL": prefect_api}
    store = ["--store", str(tmp_path / "store")]
    done = spawn("run", "train", "-i", "extra=", "-p", "epochs=2", *store, "--json", env=env)
    assert done.code == 0, done.err
    assert done.json["parameters"] == {"epochs": 2, "layers": []}
    assert "Flow run 'train'" in done.err
    failed = spawn("run", "fail", *store, env=env)
    assert failed.code == 1
    assert "exit code 7" in failed.err.splitlines()[-1]
    assert "Traceback" not in failed.err
