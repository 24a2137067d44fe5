"""Steps of a valohai.yaml as flow runs: what is shown, what is kept, how one is cancelled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from prefect_datasets import DatasetStore
from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from prefect_datasets.flows.run_step import StepOptions, run_step
from prefect_datasets.flows.step import execute_here
from prefect_datasets.tasks.step_summary import course, series_rows
from prefect_datasets.valohai.errors import StepFailedError
from prefect_datasets.valohai.plan import Given, Outcome
from prefect_datasets.valohai.reading import config
from prefect_datasets.valohai.reading.step import plan_step
from tests.prefect import observe
from tests.valohai.steps import processes

FILE = """
- step:
    name: prepare
    image: python:3.11
    command:
      - mkdir /valohai/outputs/cats; seq {parameter-value:files} | while read n; do
        echo $n > /valohai/outputs/cats/$n; done
      - cp valohai.metadata.jsonl /valohai/outputs/
      - echo '{"loss":' 1}; echo '{"loss":' 0.5}
      - test -z "$FAIL"
    parameters:
      - name: files
        type: integer
        default: 2
    environment-variables:
      - name: VH_ENABLE_DATASET_VERSION_PACKAGING
        default: "1"
- step:
    name: train
    image: python:3.11
    command: find /valohai/inputs/images -type f
    inputs:
      - name: images
        default: dataset://images/latest
- step:
    name: wait
    image: python:3.11
    command: echo kept > $VH_OUTPUTS_DIR/kept; (setsid sleep $NAP &); echo ready; sleep $NAP
"""
METADATA = """{"file": "cats/1", "metadata": {"valohai.dataset-versions": [%s]}}
{"file": "cats/2", "metadata": {"valohai.dataset-versions": [%s]}}
"""
ENTRY = '{"uri": "dataset://images/v1", "packaging": true}'


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A checkout with three steps."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "valohai.metadata.jsonl").write_text(METADATA % (ENTRY, ENTRY))
    (checkout / "valohai.yaml").write_text(FILE)
    return str(checkout / "valohai.yaml")


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(url=str(tmp_path / "store"), cache_dir=str(tmp_path / "cache"))


@pytest.fixture
def nap() -> str:
    """Seconds to sleep that no other process on this machine sleeps."""
    return f"99.{uuid.uuid4().int % 10**15}"


@flow
def around(store: DatasetStore, step: str, file: str, **more: Any) -> tuple[UUID, Outcome]:
    """Run a planned step in a flow of one's own, as pipelines do."""
    plan = plan_step(config.load(Path(file)), step, Given(**more))
    return UUID(str(flow_run.id)), execute_here(plan, store)


def test_a_step_shows_in_its_run(store: DatasetStore, file: str) -> None:
    state: Any = run_step(store, "prepare", file, return_state=True)
    outcome = state.result()
    run = state.state_details.flow_run_id
    (record,) = outcome.versions
    assert str(record.uri) == "dataset://images/v1"
    assert record.is_packaged
    assert outcome.series == {"loss": [1, 0.5]}
    seen = observe.eventually(lambda: _with(observe.logs(run), "upload complete"))
    assert '{"loss": 0.5}' in seen
    (package,) = record.packages
    assert (
        f"(dataset version package 1/1) uploading images.v1.vhpkgzip ({package.n_bytes} B)" in seen
    )
    shown = {each.key: each for each in observe.artifacts(run)}
    assert "dataset://images/v1" in str(shown["step-prepare"].data)
    assert "▁" not in str(shown["step-prepare"].description)
    assert observe.rows(shown["step-prepare-metadata"]) == [
        {"": 1, "loss": 1},
        {"": 2, "loss": 0.5},
    ]
    assert "dataset-images" in shown, "the version is shown as that of any flow"
    assert observe.eventually(lambda: observe.events("dataset://images/v1"))


def test_a_step_that_moves_an_alias_tells_from_where(store: DatasetStore, file: str) -> None:
    names: list[tuple[str, str, str | None]] = []
    for version in ("v1", "v2", "v2", "v3"):
        entry: dict[str, Any] = {"uri": f"dataset://moving/{version}"}
        if version != "v3":
            entry |= {"targeting_aliases": ["best"]}
        text = json.dumps(entry)
        Path(file).with_name("valohai.metadata.jsonl").write_text(METADATA % (text, text))
        _, outcome = around(store, "prepare", file)
        names += [(each.version.version, each.alias, each.previous) for each in outcome.aliases]
    assert names == [("v1", "best", None), ("v2", "best", "v1"), ("v2", "best", "v2")]
    observe.told("dataset://moving/v3", "prefect-datasets.version.created")
    moves = observe.told("dataset://moving/best", "prefect-datasets.alias.moved")
    said = [(each["payload"]["previous"], each["payload"]["version"]) for each in moves]
    assert sorted(said) == [("", "v1"), ("v1", "v2")]


def _with(lines: list[str], text: str) -> list[str] | None:
    return lines if any(text in line for line in lines) else None


def test_a_step_that_fails_fails_its_run(store: DatasetStore, file: str) -> None:
    state: Any = run_step(store, "prepare", file, environment={"FAIL": "1"}, return_state=True)
    assert state.is_failed()
    error = state.result(raise_on_failure=False)
    assert isinstance(error, StepFailedError)
    assert error.exit_code == 1
    run = state.state_details.flow_run_id
    (summary,) = [each for each in observe.artifacts(run) if each.key == "step-prepare"]
    assert "cats/1" in str(summary.data), "its outputs are there"
    assert catalog.read_record(store.open(), DatasetUri("images", "v1")) is None


def test_options_of_the_form(store: DatasetStore, file: str) -> None:
    options = StepOptions(namespace="plain", on_failure="go-on")
    state: Any = run_step(
        store, "wait", file, environment={"NAP": "0"}, options=options, return_state=True
    )
    assert state.is_completed()
    run = state.state_details.flow_run_id
    assert observe.eventually(lambda: _with(observe.logs(run), "Without a namespace, as told"))


def test_inputs_show_and_stay_the_same_for_all_attempts(store: DatasetStore, file: str) -> None:
    run_step(store, "prepare", file)
    run, outcome = around(store, "train", file)
    assert outcome.inputs == {"images": ("dataset://images/v1",)}
    (table,) = [each for each in observe.artifacts(run) if each.key == "resolved-inputs"]
    (row,) = observe.rows(table)
    assert row["asked for"] == "dataset://images/latest"
    assert row["resolved to"] == "dataset://images/v1"
    assert row["files"] == 2


_SCRIPT = """
import sys
from prefect_datasets import DatasetStore
from prefect_datasets.flows.run_step import run_step
store = DatasetStore(url=sys.argv[1], cache_dir=sys.argv[2])
run_step(store, "wait", sys.argv[3], environment={"NAP": sys.argv[4]})
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_and_keeps_its_outputs(
    store: DatasetStore, file: str, tmp_path: Path, nap: str, number: int
) -> None:
    """SIGTERM is what a worker sends when a run is cancelled."""
    command = [sys.executable, "-c", _SCRIPT, store.url, store.cache_dir, file, nap]
    environment = {
        **os.environ,
        "PREFECT_API_URL": str(get_current_settings().api.url),
        "PREFECT_HOME": str(tmp_path / "home"),
    }
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        observe.eventually(lambda: len(processes(f"sleep\0{nap}")) == 2, seconds=90)
        process.send_signal(number)
        process.wait(60)
    assert process.returncode != 0
    assert not processes(nap)
    (files,) = (tmp_path / "store").glob("outputs/*/files")
    assert [path.name for path in files.iterdir()] == ["kept"]
    assert open_store(store.url).list_folders("outputs/")


def test_a_series_is_drawn_and_listed() -> None:
    assert course([0, 1, 2, 3]) == "▁▃▆█"
    assert course([1, 1]) == "▁▁"
    assert course(["a", 1]) == ""
    assert len(course(list(range(1000)))) == 40
    rows = series_rows({"loss": [3, 2, 1], "accuracy": [0.5], "flag": [True, False]})
    assert rows == [
        {"": 1, "loss": 3, "accuracy": "", "flag": ""},
        {"": 2, "loss": 2, "accuracy": "", "flag": "true"},
        {"": 3, "loss": 1, "accuracy": 0.5, "flag": "false"},
    ]
