"""Inputs and outputs of many files cost what their files cost, and little more."""

from __future__ import annotations

import json
import time
from pathlib import Path

import yaml

from prefect_datasets.valohai.plan import InputPlan, StepPlan
from prefect_datasets.valohai.running.config_files import (
    ExecutionInfo,
    InputFile,
    write_config_files,
)


def test_config_files_of_large_inputs(tmp_path: Path) -> None:
    files = [
        InputFile(f"cats/{n}", f"/valohai/inputs/x/cats/{n}", n, f"datum://{n}", f"{n}")
        for n in range(20_000)
    ]
    plan = StepPlan("s", "i", ("true",), {}, (InputPlan("x", ("u",)),), {}, tmp_path)
    began = time.process_time()
    write_config_files(tmp_path, plan, ExecutionInfo(id="e"), {"x": files})
    assert time.process_time() - began < 5
    found = json.loads((tmp_path / "inputs.json").read_text())
    assert len(found["x"]["files"]) == 20_000
    write_config_files(tmp_path, plan, ExecutionInfo(id="e"), {"x": files[:1001]})
    assert yaml.safe_load((tmp_path / "inputs.yaml").read_text()) == json.loads(
        (tmp_path / "inputs.json").read_text()
    )
