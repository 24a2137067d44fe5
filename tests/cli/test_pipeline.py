"""`run --pipeline`: what it prints, how it ends, and how it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_as_flow import flow_runs
from tests.servers.process import program
from tests.valohai.files import write

FILE = """
    - step:
        name: make
        image: any
        command:
          - echo one > /valohai/outputs/one.txt
          - echo '{"valohai.dataset-versions":["dataset://ones/v1"]}' >
            /valohai/outputs/one.txt.metadata.json
    - step:
        name: use
        image: any
        command: cat /valohai/inputs/files/* > /valohai/outputs/all-{parameter-value:n}.txt
        parameters: [{name: n, type: integer, default: 1}]
        inputs: [{name: files}]
    - step: {name: fail, image: any, command: exit 3}
    - step:
        name: sleep
        image: any
        command: [echo x > /valohai/outputs/x.txt, echo asleep, sleep 4321]
    - pipeline:
        name: good
        parameters: [{name: n, target: use.parameter.n}]
        nodes:
          - {name: make, type: execution, step: make}
          - {name: use, type: task, step: use}
        edges: [[make.outputs.*, use.inputs.files]]
    - pipeline:
        name: bad
        nodes: [{name: fail, type: execution, step: fail}]
        edges: []
    - pipeline:
        name: asked
        nodes:
          - name: make
            type: execution
            step: make
            actions: [{when: node-complete, then: require-approval}]
        edges: []
    - pipeline:
        name: long
        nodes:
          - {name: one, type: execution, step: sleep}
          - {name: two, type: execution, step: sleep}
        edges: []
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, FILE)


def test_a_pipeline_runs_without_any_api(spawn: Run, file: Path) -> None:
    done = spawn("run", "--pipeline", "good", "-f", file, "-p", "n=5", "-p", "use.n=7", "--json")
    assert done.code == 0, done.err
    assert done.json["verdict"] == "complete"
    make, use = done.json["nodes"]
    assert [version["uri"] for version in done.json["versions"]] == ["dataset://ones/v1"]
    assert [each["path"] for each in make["executions"][0]["outputs"]] == ["one.txt"]
    assert [each["parameters"] for each in use["executions"]] == [{"n": 7}]
    assert "use: step 'use'" in done.err


def test_a_failed_node_is_told_and_fails_the_command(spawn: Run, file: Path) -> None:
    done = spawn("run", "--pipeline", "bad", "-f", file)
    assert done.code == 1
    assert done.out.splitlines()[1].split()[:2] == ["fail", "failed"]
    assert "prefect-datasets: Node 'fail' failed: The step failed with exit code 3" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--pipeline", "goood"), "No such pipeline 'goood'"),
        (("--pipeline", "good", "-p", "m=1"), "has no parameter 'm'"),
        (("--pipeline", "good", "-i", "make.files=/x"), "has no input 'files'"),
        (("--pipeline", "asked"), "can require approval, and there is nobody to ask"),
    ],
)
def test_wrong_usage_is_told_before_anything_runs(
    run: Run, file: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = run("run", "-f", file, *arguments)
    assert done.code == 2
    assert told in done.err
    assert "step 'make'" not in done.err


def test_an_interrupt_ends_every_node_and_keeps_what_they_wrote(file: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [program("prefect-datasets"), "run", "--pipeline", "long", "-f", str(file)]
    with subprocess.Popen(
        [*command, "--store", str(store)], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stderr is not None
        asleep = 0
        for line in running.stderr:
            asleep += "asleep" in line
            if asleep == min(2, os.cpu_count() or 1):
                break
        os.kill(running.pid, signal.SIGINT)
        rest = running.stderr.read()
        assert running.wait(60) == 130
    assert "what the nodes wrote so far is stored" in rest
    assert len(list(store.glob("outputs/*/files/x.txt"))) == asleep


@pytest.mark.slow
def test_with_an_api_it_is_a_flow_run(
    spawn: Run, file: Path, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    before = flow_runs(prefect_api, "run-pipeline")
    done = spawn("run", "--pipeline", "bad", "-f", file, "--store", tmp_path / "store")
    assert done.code == 1
    assert "prefect-datasets: Node 'fail' failed: The step failed" in done.err
    assert "Traceback" not in done.err
    after = flow_runs(prefect_api, "run-pipeline")
    assert [after[each] for each in after.keys() - before.keys()] == ["FAILED"]
