"""Scripts that use valohai-utils, the library itself, unchanged."""

from __future__ import annotations

import zipfile

import pytest

from prefect_datasets.valohai.plan import InputPlan
from prefect_datasets.valohai.running.config_files import ExecutionInfo
from tests.valohai.steps import PACKAGED, Heard, Machine

PARAMETERS = {"epochs": 3, "rate": 0.5, "name": "a b", "augment": True, "layers": ["8", "4"]}


def test_prepare_parameters_inputs_and_outputs(machine: Machine) -> None:
    machine.publish("dataset://pets/v1", {"cats/a.txt": "a", "dogs/b.txt": "b"}, packaging=True)
    machine.write(
        "train.py",
        """
import valohai
valohai.prepare(
    step="train",
    image="python:3.11",
    default_inputs={"pets": "s3://nobody/asks/this", "none": "https://nobody/asks/this"},
    default_parameters={"epochs": 1, "rate": 0.1, "name": "", "augment": False, "layers": ["1"]},
)
assert valohai.parameters("epochs").value == 3
assert valohai.parameters("rate").value == 0.5
assert valohai.parameters("name").value == "a b"
assert valohai.parameters("augment").value is True
assert valohai.parameters("layers").value == ["8", "4"]
paths = sorted(valohai.inputs("pets").paths())
assert paths == ["/valohai/inputs/pets/cats/a.txt", "/valohai/inputs/pets/dogs/b.txt"], paths
assert sorted(valohai.inputs("pets").paths("dogs/*")) == paths[1:]
assert valohai.inputs("pets").dir_path() == "/valohai/inputs/pets"
assert list(valohai.inputs("none").paths()) == []
assert valohai.execution().config.counter == 7
assert valohai.execution().config.title == "my run"
out = valohai.outputs().path("models/best.txt")
open(out, "w").write("best")
valohai.outputs().live_upload("models/best.txt")
for epoch in range(3):
    with valohai.metadata.logger() as logger:
        logger.log("epoch", epoch)
        logger.log("loss", 1 / (epoch + 1))
valohai.set_status_detail("training")
""",
    )
    log = Heard()
    outcome = machine.run(
        "python train.py --epochs=3 --rate=0.5 '--name=a b' --augment",
        inputs=[InputPlan("pets", ("dataset://pets/v1",)), InputPlan("none", (), optional=True)],
        parameters=PARAMETERS,
        info=ExecutionInfo(id="", counter=7, title="my run"),
        log=log,
    )
    assert outcome.error is None, log.text
    assert machine.stored(outcome) == {"models/best.txt": b"best"}
    assert outcome.metadata == {"epoch": 2, "loss": 1 / 3}
    assert outcome.series == {"epoch": [0, 1, 2], "loss": [1.0, 0.5, 1 / 3]}


def test_archives_are_opened_by_the_library(machine: Machine) -> None:
    with zipfile.ZipFile(machine.checkout / "images.zip", "w") as archive:
        archive.writestr("in/1.txt", "1")
        archive.writestr("in/2.txt", "2")
    machine.write(
        "train.py",
        "import valohai\n"
        "print(sorted(open(path).read() for path in valohai.inputs('images').paths()))\n",
    )
    log = Heard()
    plan = InputPlan("images", (f"file://{machine.checkout}/images.zip",))
    outcome = machine.run("python train.py", inputs=[plan], log=log)
    assert outcome.error is None, log.text
    assert log.lines == ["['1', '2']"]


def test_output_properties(machine: Machine) -> None:
    machine.write(
        "prepare.py",
        """
import valohai
with valohai.output_properties() as properties:
    for n in range(3):
        open(valohai.outputs().path(f"images/{n}.txt"), "w").write(str(n))
        properties.add(file=f"images/{n}.txt", properties={"number": n})
        properties.add_to_dataset(
            file=f"images/{n}.txt", dataset_version=properties.dataset_version_uri("pets", "v1")
        )
""",
    )
    log = Heard()
    outcome = machine.run("python prepare.py", environment=PACKAGED, log=log)
    assert outcome.error is None, log.text
    assert machine.files_of("dataset://pets/v1") == [f"images/{n}.txt" for n in range(3)]
    assert any("Created dataset version" in line for line in log.lines)


OBJECTS = """
import valohai
with valohai.output_properties() as properties:
    open(valohai.outputs().path("a.txt"), "w").write("a")
    version = {"uri": "dataset://pets/v1", "packaging": True}
    properties.add(file="a.txt", properties={"valohai.dataset-versions": [version]})
"""


@pytest.mark.parametrize("fail_fast", [True, False])
def test_output_properties_fail_after_writing_objects(machine: Machine, fail_fast: bool) -> None:
    """The library writes all its metadata and then raises: that is not ours to hide."""
    machine.write("prepare.py", OBJECTS)
    outcome = machine.run("python prepare.py", "true", environment=PACKAGED, fail_fast=fail_fast)
    assert machine.stored(outcome) == {"a.txt": b"a"}
    if fail_fast:
        assert outcome.exit_code == 1
        assert "output_properties()" in str(outcome.error)
        (folder,) = machine.kept()
        assert "packaging" in (folder / "outputs/valohai.metadata.jsonl").read_text()
    else:
        assert outcome.error is None
        assert outcome.versions[0].is_packaged
