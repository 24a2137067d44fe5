"""What a step finds, what it leaves, and what becomes of that."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import socket
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prefect_datasets.core.errors import AlreadyPublishedError, DatasetError, NotFoundError
from prefect_datasets.core.format import keys
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from prefect_datasets.valohai.errors import StepFailedError
from prefect_datasets.valohai.plan import InputPlan
from prefect_datasets.valohai.running.config_files import ExecutionInfo
from tests.valohai.steps import PACKAGED, PUBLISH, Heard, Machine


def test_hard_coded_paths_are_real(machine: Machine) -> None:
    machine.publish("dataset://pets/v1", {"cats/a.txt": "a", "dogs/b.txt": "b"}, packaging=True)
    machine.write(
        "train.py",
        "import json, os\n"
        "assert os.getcwd() == '/valohai/repository'\n"
        "names = sorted(os.listdir('/valohai/inputs/images'))\n"
        "text = open('/valohai/inputs/images/cats/a.txt').read()\n"
        "counter = json.load(open('/valohai/config/execution.json'))\n"
        "open('/valohai/outputs/model.txt', 'w').write(f'{names} {text}')\n"
        "print(json.dumps({'step': counter['valohai.execution-step']}))\n",
    )
    outcome = machine.run("python train.py", inputs={"images": "dataset://pets/latest"})
    assert outcome.error is None
    assert outcome.exit_code == 0
    assert machine.stored(outcome) == {"model.txt": b"['cats', 'dogs'] a"}
    assert outcome.metadata == {"step": "test"}
    assert outcome.inputs == {"images": ("dataset://pets/v1",)}, "`latest` is resolved once"
    assert machine.kept() == [], "nothing is left of a run that succeeded"


def test_two_at_once_never_meet(machine: Machine) -> None:
    """Neither reads what it wrote before the other has written too."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(3) as pool:
        port = server.getsockname()[1]
        writes = "".join(f"echo $ME > {folder}/who; " for folder in _OWN)
        reads = f"cat {' '.join(f'{folder}/who' for folder in _OWN)} > /valohai/outputs/found"

        def run(me: str) -> bytes:
            wait = f"exec 3<>/dev/tcp/127.0.0.1/{port}; read -u 3 _"
            outcome = machine.run(writes, wait, reads, environment={"ME": me})
            assert outcome.error is None
            return machine.stored(outcome)["found"]

        meeting = pool.submit(_let_meet, server)
        a, b = pool.map(run, ("a", "b"))
        meeting.result()
    assert a == b"a\n" * len(_OWN)
    assert b == b"b\n" * len(_OWN)


_OWN = ("/valohai/outputs", "/valohai/repository", "/valohai/home", "/tmp", "/var/tmp", "/dev/shm")


def _let_meet(server: socket.socket) -> None:
    server.settimeout(60)
    callers = [server.accept()[0] for _ in range(2)]
    for caller in callers:
        with caller:
            caller.sendall(b"\n")


def test_nothing_of_the_caller_leaks_in(machine: Machine) -> None:
    machine.environment |= {
        "JPY_PARENT_PID": "1",
        "VALOHAI_PORT": "2",
        "PREFECT_API_URL": "3",
        "PYTHONPATH": "/nowhere",
        "AWS_SECRET_ACCESS_KEY": "4",
        "VH_FLAT_LOCAL_OUTPUTS": "5",
        "HTTPS_PROXY": "http://proxy:1",
    }
    log = Heard()
    machine.run("env", environment={"MINE": "own"}, log=log)
    found = dict(line.split("=", 1) for line in log.lines if "=" in line)
    assert found["MINE"] == "own"
    assert found["HTTPS_PROXY"] == "http://proxy:1"
    assert found["VH_OUTPUTS_DIR"] == "/valohai/outputs"
    assert not {name for name in found if name.startswith(("JPY_", "VALOHAI_", "PREFECT_"))}
    assert not {"PYTHONPATH", "AWS_SECRET_ACCESS_KEY", "VH_FLAT_LOCAL_OUTPUTS"} & set(found)


def test_the_checkout_stays_as_it_is(machine: Machine) -> None:
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:  # not hidden, as /tmp is
        code = Path(folder, "code.py")
        code.write_text("original")
        machine.write("code.py", "original")
        log = Heard()
        hostile = f"echo changed > {code} || ls {code}; echo changed > code.py; cat code.py"
        machine.run(hostile, log=log)
        assert code.read_text() == "original"
        assert f"{code}: Read-only file system" in log.text
        assert log.lines[-1] == "changed", "its own copy is its own"
    assert (machine.checkout / "code.py").read_text() == "original"


def test_the_checkout_can_be_asked_for(machine: Machine) -> None:
    machine.write("code.py", "original")
    machine.run("echo changed > code.py", write_repository=True)
    assert (machine.checkout / "code.py").read_text() == "changed\n"


def test_commands_share_one_shell(machine: Machine) -> None:
    log = Heard()
    machine.run("mkdir a; cd a", "export X=1", "echo $PWD $X", log=log)
    assert log.lines == ["/valohai/repository/a 1"]


def test_the_first_failure_ends_the_step_unless_the_last_command_decides(machine: Machine) -> None:
    log = Heard()
    outcome = machine.run("echo a; false", "echo b", log=log)
    assert (outcome.exit_code, log.lines) == (1, ["a"])
    log = Heard()
    outcome = machine.run("echo a; false", "echo b", fail_fast=False, log=log)
    assert (outcome.exit_code, log.lines) == (0, ["a", "b"])


def test_a_shebang_names_the_interpreter(machine: Machine) -> None:
    log = Heard()
    machine.run("#!/usr/bin/env python\nimport sys\nprint(sys.version_info.major)", log=log)
    assert log.lines == ["3"]


def test_a_failed_step_keeps_its_outputs_and_makes_no_version(machine: Machine) -> None:
    machine.write("files.json", json.dumps(["dataset://pets/v1", {"a/b.txt": "b"}, True]))
    machine.run("true")
    machine.write("publish.py", PUBLISH)
    log = Heard()
    outcome = machine.run("python publish.py", "echo oh no >&2; exit 7", log=log)
    assert outcome.exit_code == 7
    assert isinstance(outcome.error, StepFailedError)
    assert outcome.error.exit_code == 7
    assert "oh no" in str(outcome.error)
    assert machine.stored(outcome) == {"a/b.txt": b"b"}
    assert outcome.versions == ()
    with pytest.raises(NotFoundError):
        catalog.find(machine.store, DatasetUri("pets", "v1"))
    (folder,) = machine.kept()
    assert any(str(folder) in warning for warning in log.warnings)
    assert (folder / "outputs/valohai.metadata.jsonl").exists(), "the metadata is not lost"


@pytest.mark.parametrize(
    ("runner", "step", "is_packaged"),
    [
        (None, None, False),
        (True, None, True),
        (True, "0", False),
        (False, "yes", True),
        (None, "TRUE", True),
        (None, "on", False),
    ],
)
def test_packaging_by_runner_and_step(
    machine: Machine, runner: bool | None, step: str | None, is_packaged: bool
) -> None:
    """A version is there already after the first case: each has one of its own."""
    machine.write("files.json", json.dumps(["dataset://pets/v1", {"cats/a.txt": "a"}, True]))
    machine.write("publish.py", PUBLISH)
    log = Heard()
    environment = {} if step is None else {"VH_ENABLE_DATASET_VERSION_PACKAGING": step}
    outcome = machine.run(
        "python publish.py", environment=environment, packaging_switch=runner, log=log
    )
    (record,) = outcome.versions
    assert record.is_packaged is is_packaged
    said = [note for note in log.notes if note.startswith("(dataset version package 1/1)")]
    if not is_packaged:
        assert said == []
        assert any("VH_ENABLE_DATASET_VERSION_PACKAGING" in each for each in log.warnings)
        return
    (package,) = record.packages
    assert said == [
        f"(dataset version package 1/1) uploading pets.v1.vhpkgzip ({package.n_bytes} B)",
        f"(dataset version package 1/1) uploading to file bucket {machine.root / 'store'}",
        f"(dataset version package 1/1) upload complete (datum {package.datum})",
    ]
    with zipfile.ZipFile(machine.root / "store" / package.key) as opened:
        assert opened.namelist() == ["cats/a.txt"]


def test_a_taken_version_is_an_error_and_the_outputs_are_kept(machine: Machine) -> None:
    machine.publish("dataset://pets/v1", {"a": "first"})
    machine.write("files.json", json.dumps(["dataset://pets/v1", {"a": "second"}, False]))
    outcome = machine.run("python publish.py")
    assert isinstance(outcome.error, AlreadyPublishedError)
    assert outcome.exit_code == 0, "the commands did well"
    assert machine.stored(outcome) == {"a": b"second"}
    assert machine.files_of("dataset://pets/v1") == ["a"]


def test_the_same_files_again_are_the_same_version(machine: Machine) -> None:
    first = machine.publish("dataset://pets/v1", {"a": "same"})
    again = machine.publish("dataset://pets/v1", {"a": "same"})
    assert [record.uri for record in again.versions] == [record.uri for record in first.versions]
    assert [output.path for output in again.outputs] == ["a"]


def test_faulty_metadata_is_a_warning(machine: Machine) -> None:
    log = Heard()
    outcome = machine.run(
        "echo a > /valohai/outputs/a",
        'printf \'{no json\\n{"file": "gone", "metadata": {}}\\n\' '
        "> /valohai/outputs/valohai.metadata.jsonl",
        log=log,
    )
    assert outcome.error is None
    assert any("line 1" in warning for warning in log.warnings)
    assert any("gone" in warning for warning in log.warnings)


def test_what_no_store_can_keep_is_left_out(machine: Machine) -> None:
    log = Heard()
    outcome = machine.run(
        "cd /valohai/outputs; mkdir d; echo a > d/a; mkfifo pipe; ln -s /etc/passwd link; "
        "ln -s d folder; ln -s nowhere dangling; ln -s d/a inside; touch $'new\\nline'; "
        "mkdir locked; echo b > locked/b; chmod 0 locked/b locked",
        log=log,
    )
    assert outcome.error is None
    assert machine.stored(outcome) == {"d/a": b"a\n", "inside": b"a\n", "locked/b": b"b\n"}
    (warning,) = log.warnings
    for name in ("pipe", "link", "folder", "dangling", r"new\nline"):
        assert name in warning


def test_where_outputs_came_from_is_kept_beside_them(machine: Machine) -> None:
    machine.publish("dataset://pets/v1", {"a": "a"})
    outcome = machine.run(
        "echo '{\"loss\": 1}'; echo '{\"loss\": 0.5}'; echo done > /valohai/outputs/out",
        inputs={"pets": "dataset://pets/latest"},
        parameters={"epochs": 3},
        environment={"SECRET": "hidden"},
        info=ExecutionInfo(id="", more={"pipeline-id": "p1"}),
    )
    text = machine.store.read(keys.execution_key(outcome.execution)).decode()
    body = json.loads(text)
    assert body["inputs"] == {"pets": ["dataset://pets/v1"]}
    assert body["parameters"] == {"epochs": 3}
    assert body["metadata"] == {"loss": 0.5}
    assert body["pipeline-id"] == "p1"
    assert body["exit_code"] == 0
    assert "hidden" not in text
    assert outcome.series == {"loss": [1, 0.5]}
    log = machine.store.read(keys.log_key(outcome.execution)).decode()
    assert log == '{"loss": 1}\n{"loss": 0.5}\n'


def test_what_is_installed_goes_away_with_the_run(machine: Machine) -> None:
    wheel = "of_this_step-1-py3-none-any.whl"
    info = "of_this_step-1.dist-info"
    with zipfile.ZipFile(machine.checkout / wheel, "w") as file:
        file.writestr("of_this_step.py", "print('installed')")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: of-this-step\nVersion: 1\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        file.writestr(f"{info}/RECORD", "")
    log = Heard()
    outcome = machine.run(
        f"pip install --quiet --no-index ./{wheel}",
        "cd / && python -m of_this_step && python -c 'import pandas, valohai'",
        log=log,
    )
    assert outcome.error is None, log.text
    assert log.lines == ["installed"]
    assert importlib.util.find_spec("of_this_step") is None


def test_an_input_that_is_not_there_is_told_before_anything_runs(machine: Machine) -> None:
    outcome = machine.run("echo never > /valohai/outputs/x", inputs={"a": "dataset://no/v1"})
    assert isinstance(outcome.error, NotFoundError)
    assert outcome.exit_code == 125
    assert machine.kept() == []


def test_errors_survive_pickling() -> None:
    error = StepFailedError("It failed", subject="s", hint="h", exit_code=3)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.exit_code, isinstance(again, DatasetError)) == (str(error), 3, True)


def test_an_empty_input_has_a_folder(machine: Machine) -> None:
    log = Heard()
    machine.run(
        "ls -A /valohai/inputs/none; cat /valohai/config/inputs.json | tr -d ' \\n'",
        inputs=[InputPlan("none", (), optional=True)],
        log=log,
    )
    assert log.text == '{"none":{"files":[]}}'


def test_the_packaging_variable_reaches_the_step(machine: Machine) -> None:
    log = Heard()
    machine.run("echo $VH_ENABLE_DATASET_VERSION_PACKAGING", environment=PACKAGED, log=log)
    assert log.lines == ["1"]


_TRIAL = """
import subprocess, sys, pyarrow, prefect_datasets
subprocess.run([sys.executable, "-c", ""], check=True)
"""

_AS_NOBODY = """
import sys
from pathlib import Path
from tests.valohai import steps
machine = steps.machine(Path(sys.argv[1]))
for machine.namespace in ("bubblewrap", "unshare", "plain"):
    log = steps.Heard()
    outcome = machine.run("echo $VH_OUTPUTS_DIR; id > $VH_OUTPUTS_DIR/x", log=log)
    print(machine.namespace, log.text, outcome.error, [each.path for each in outcome.outputs])
"""


def test_a_user_who_is_not_root_runs_steps_too(tmp_path: Path) -> None:
    home = tmp_path / "of-nobody"
    home.mkdir()
    for folder in (home, *home.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    home.chmod(0o777)
    done = _as_nobody(_AS_NOBODY, str(home))
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "bubblewrap /valohai/outputs None ['x']",
        "unshare /valohai/outputs None ['x']",
    ], done
    assert lines[2].startswith(f"plain {home}/runs/")


def _as_nobody(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script as another user, by a Python that this user can run."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = sysconfig.get_path("purelib")
    own = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": packages}
    source = Path(__file__).parents[2]
    own["PYTHONPATH"] = f"{source / 'src'}:{packages}"
    for python in (sys.executable, f"/usr/bin/{version}"):
        trial = [
            *user,
            python,
            "-c",
            _TRIAL,
        ]
        if subprocess.run(trial, check=False, capture_output=True, cwd="/", env=own).returncode:
            continue
        command = [*user, python, "-c", script, *arguments]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=100, cwd=source, env=own
        )
    pytest.skip("no Python here that another user can run")
