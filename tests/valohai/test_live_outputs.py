"""Outputs that a step makes read-only are stored while it runs."""

from __future__ import annotations

import json
import zipfile

from prefect_datasets.core.format import parts
from prefect_datasets.valohai.plan import Outcome
from tests.valohai.steps import PACKAGED, Heard, Machine

# A step that waits until a file has been taken.
WAIT = """
import os, time
def gone(path):
    for _ in range(600):
        if not os.path.exists(path):
            return
        time.sleep(0.05)
    raise SystemExit(path + " is still there")
def write(path, text, live=False):
    path = "/valohai/outputs/" + path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    if live:
        os.chmod(path, 0o444)
    return path
"""


def run(machine: Machine, script: str, *commands: str, log: Heard | None = None) -> Outcome:
    machine.write("script.py", WAIT + script)
    return machine.run("python script.py", *commands, environment=PACKAGED, log=log)


def test_they_join_their_version_and_its_package(machine: Machine) -> None:
    log = Heard()
    outcome = run(
        machine,
        """
import json
for n in range(3):
    gone(write(f"cats/{n}.txt", f"live {n}", live=True))
write("cats/3.txt", "at the end")
entry = {"valohai.dataset-versions": [{"uri": "dataset://pets/v1", "packaging": True}]}
# One sidecar goes away before its file has been written, all others are lines.
gone(write("cats/2.txt.metadata.json", json.dumps({**entry, "n": 2}), live=True))
lines = [json.dumps({"file": f"cats/{n}.txt", "metadata": entry}) for n in (0, 1, 3)]
write("valohai.metadata.jsonl", "\\n".join(lines))
""",
        log=log,
    )
    assert outcome.error is None, log.text
    contents = {f"cats/{n}.txt": f"live {n}".encode() for n in range(3)}
    contents["cats/3.txt"] = b"at the end"
    assert machine.stored(outcome) == contents
    assert len([note for note in log.notes if "uploaded" in note]) == 3
    (record,) = outcome.versions
    rows = parts.read_rows(machine.store, record).to_pylist()
    assert [row["path"] for row in rows] == sorted(contents)
    assert json.loads(rows[2]["metadata"]) == {"n": 2}
    with zipfile.ZipFile(machine.root / "store" / record.packages[0].key) as package:
        assert {name: package.read(name) for name in package.namelist()} == contents


def test_later_ones_of_the_same_name_are_datums_of_their_own(machine: Machine) -> None:
    outcome = run(
        machine,
        """
for n in range(3):
    gone(write("model", f"model {n}", live=True))
write("model.metadata.json", '{"valohai.dataset-versions": ["dataset://models/v1"]}')
""",
    )
    assert outcome.error is None
    assert [output.path for output in outcome.outputs] == ["model"] * 3
    assert len({output.datum for output in outcome.outputs}) == 3
    (row,) = parts.read_rows(machine.store, outcome.versions[0]).to_pylist()
    assert machine.store.read(row["url"]) == b"model 2"


def test_they_are_kept_when_the_step_fails(machine: Machine) -> None:
    outcome = run(machine, 'gone(write("a/model", "kept", live=True))', "exit 1")
    assert outcome.exit_code == 1
    assert machine.stored(outcome) == {"a/model": b"kept"}


def test_copies_of_inputs_stay_where_they_are(machine: Machine) -> None:
    """`shutil.copy` copies the mode as well: nobody meant that copy to go."""
    machine.publish("dataset://pets/v1", {"a.txt": "of the input"})
    machine.write(
        "script.py",
        """
import os, shutil, time
shutil.copy("/valohai/inputs/pets/a.txt", "/valohai/outputs/b.txt")
time.sleep(1)
assert os.path.exists("/valohai/outputs/b.txt")
""",
    )
    outcome = machine.run("python script.py", inputs={"pets": "dataset://pets/v1"})
    assert outcome.error is None
    assert machine.stored(outcome) == {"b.txt": b"of the input"}


def test_a_store_that_fails_meanwhile_gets_them_at_the_end(machine: Machine) -> None:
    """A file stands where the store wants a folder, until the step has seen that."""
    obstacle = machine.root / "store" / "outputs"
    obstacle.parent.mkdir(exist_ok=True)
    obstacle.touch()
    log = Heard(on_line=lambda _: obstacle.unlink())
    outcome = run(machine, 'gone(write("a", "text", live=True)); time.sleep(1); print()', log=log)
    assert outcome.error is None, log.text
    assert any("stay until the end" in warning for warning in log.warnings)
    assert machine.stored(outcome) == {"a": b"text"}
