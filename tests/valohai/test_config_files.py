"""The files in /valohai/config, as valohai-utils reads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefect_datasets.valohai.plan import InputPlan, StepPlan
from prefect_datasets.valohai.running.config_files import (
    ExecutionInfo,
    InputFile,
    write_config_files,
)

PLAN = StepPlan(
    step="train",
    image="python:3.11",
    commands=("python train.py",),
    parameters={"epochs": 3, "rate": 0.5, "fast": True, "title": "é", "layers": [10, 5]},
    inputs=(InputPlan("images", ("dataset://images/v1",)), InputPlan("extra", (), optional=True)),
    environment={},
    repository=Path("/repository"),
)
SCRIPT = """
import json, valohai
valohai.prepare(
    step="train",
    default_parameters={"epochs": 1, "fast": False, "layers": [1], "unknown": 1},
    default_inputs={"images": "http://127.0.0.1:9/never-fetched.jpg", "extra": "http://127.0.0.1:9/x"},
)
print(json.dumps({
    "epochs": valohai.parameters("epochs").value,
    "fast": valohai.parameters("fast").value,
    "layers": valohai.parameters("layers").value,
    "title": valohai.parameters("title").value,
    "paths": sorted(valohai.inputs("images").paths()),
    "cats": sorted(valohai.inputs("images").paths("cats/*")),
    "extra": list(valohai.inputs("extra").paths()),
    "title of the run": valohai.execution().config.title,
    "id": valohai.execution().config.id,
}))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Write the config files and the inputs they tell of."""
    for folder in ("config", "outputs", "inputs/extra", "inputs/images/cats"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a.jpg", "cats/b.jpg"):
        (tmp_path / "inputs/images" / name).write_text(name)
    files = [
        InputFile(
            name=name,
            path=f"{tmp_path}/inputs/images/{name}",
            n_bytes=len(name),
            uri=f"datum://{datum}",
            datum=datum,
            storage_uri=f"s3://bucket/{datum}",
            checksums={"sha256": "00"},
            metadata={"label": "cat"} if "/" in name else {},
        )
        for datum, name in enumerate_ids("a.jpg", "cats/b.jpg")
    ]
    info = ExecutionInfo("0192", counter=7, project="me/mine", more={"pipeline-id": "p"})
    write_config_files(tmp_path / "config", PLAN, info, {"images": files})
    return tmp_path


def enumerate_ids(*names: str) -> list[tuple[str, str]]:
    return [(f"id-{number}", name) for number, name in enumerate(names)]


def read(place: Path, name: str) -> Any:
    return json.loads((place / "config" / name).read_text(encoding="utf-8"))


def test_there_are_ten_files_each_twice(place: Path) -> None:
    names = ["api", "execution", "inputs", "parameters", "runtime"]
    found = sorted(path.name for path in (place / "config").iterdir())
    assert found == sorted(f"{name}.{kind}" for name in names for kind in ("json", "yaml"))
    for name in names:
        text = (place / "config" / f"{name}.yaml").read_text(encoding="utf-8")
        assert yaml.safe_load(text) == read(place, f"{name}.json")


def test_parameters_are_typed_values(place: Path) -> None:
    assert read(place, "parameters.json") == dict(PLAN.parameters)


def test_every_input_is_listed_and_has_no_id_of_its_own(place: Path) -> None:
    inputs = read(place, "inputs.json")
    assert inputs["extra"] == {"files": []}  # without it valohai-utils would fetch its own default
    assert inputs["images"].keys() == {"files"}  # with an `input_id` it would ask an API
    plain, nested = inputs["images"]["files"]
    assert "metadata" not in plain
    assert nested == {
        "name": "cats/b.jpg",
        "path": f"{place}/inputs/images/cats/b.jpg",
        "size": 10,
        "uri": "datum://id-1",
        "datum_id": "id-1",
        "storage_uri": "s3://bucket/id-1",
        "checksums": {"sha256": "00"},
        "metadata": [{"label": "cat"}],
    }


def test_the_execution_is_described_with_dotted_keys(place: Path) -> None:
    execution = read(place, "execution.json")
    assert execution["valohai.execution-id"] == "0192"
    assert execution["valohai.execution-step"] == execution["valohai.execution-title"] == "train"
    assert execution["valohai.pipeline-id"] == "p"
    assert execution["valohai.project-name"].split("/")[1] == "mine"  # as scripts do


def test_valohai_utils_finds_itself_at_home(place: Path) -> None:
    folders = {f"VH_{name.upper()}_DIR": str(place / name) for name in ("config", "inputs")}
    printed = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PATH": os.environ["PATH"], "VH_JOB_ID": "exec-0192", **folders},
        cwd=place,
        capture_output=True,
        check=False,
        text=True,
    )
    assert printed.returncode == 0, printed.stderr
    assert json.loads(printed.stdout.splitlines()[-1]) == {
        "epochs": 3,
        "fast": True,
        "layers": [10, 5],
        "title": "é",
        "paths": [f"{place}/inputs/images/a.jpg", f"{place}/inputs/images/cats/b.jpg"],
        "cats": [f"{place}/inputs/images/cats/b.jpg"],
        "extra": [],
        "title of the run": "train",
        "id": "0192",
    }
