"""Pipelines that really run: steps in their namespaces, files by way of a store."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from prefect_datasets.valohai.pipeline.drive import drive
from prefect_datasets.valohai.pipeline.host import Answer
from prefect_datasets.valohai.pipeline.outcome import PipelineOutcome
from prefect_datasets.valohai.pipeline.plan import plan_pipeline
from prefect_datasets.valohai.pipeline.status import Verdict
from prefect_datasets.valohai.pipeline.threads import ThreadHost
from prefect_datasets.valohai.plan import Given
from prefect_datasets.valohai.reading.config import load
from prefect_datasets.valohai.running.runner import Runner
from tests.valohai.steps import Heard, Machine

STEPS = """
- step:
    name: make
    image: python:3.11
    command:
      - mkdir -p /valohai/outputs/images /valohai/outputs/deep
      - cd /valohai/outputs
      - for n in $(seq {parameter-value:size}); do echo image $n > images/$n.txt; done
      - echo notes > /valohai/outputs/deep/notes.md
      - 'echo ''{"rates": [0.5, 0.25], "best": 7}'''
    parameters:
      - {name: size, type: integer, default: 2}
- step:
    name: train
    image: python:3.11
    command:
      - cat /valohai/inputs/images/*.txt > /valohai/outputs/model-{parameter-value:lr}.txt
      - printf '\\173"loss":%s\\175\\n' {parameter-value:lr}
      - echo "node $VH_PIPELINE_NODE_ID of $VH_PIPELINE_ID"
    parameters:
      - {name: lr, type: float, default: 1.0}
    inputs:
      - {name: images}
- step:
    name: release
    image: python:3.11
    command:
      - cp /valohai/inputs/models/* /valohai/outputs/
      - >-
        for f in /valohai/outputs/*.txt; do
        echo '{"valohai.dataset-versions": ["dataset://models/v1"]}' > $f.metadata.json; done
    inputs:
      - {name: models}
- step:
    name: fail
    image: python:3.11
    command:
      - echo part > /valohai/outputs/part.txt
      - exit 3
- step:
    name: sleep
    image: python:3.11
    command:
      - echo before > /valohai/outputs/before.txt
      - echo asleep
      - sleep 300
"""

CHAIN = """
- pipeline:
    name: main
    parameters:
      - {name: size, target: make.parameter.size}
    nodes:
      - {name: make, type: execution, step: make}
      - {name: train, type: task, step: train}
      - {name: release, type: execution, step: release}
    edges:
      - [make.outputs.images/*, train.inputs.images]
      - [make.metadata.rates, train.parameters.lr]
      - [train.output.*model*, release.input.models]
"""


@dataclass
class Runs:
    """Runs pipelines on a machine of the test's own."""

    machine: Machine
    logs: dict[str, Heard] = field(default_factory=dict[str, Heard])
    on_line: Callable[[str], None] = field(default=lambda _: None)

    def run(self, text: str, **given: object) -> PipelineOutcome:
        self.machine.write("valohai.yaml", dedent(STEPS) + dedent(text))
        loaded = load(self.machine.checkout)
        plan = plan_pipeline(loaded, loaded.names("pipeline")[0], Given(**given))  # type: ignore[arg-type]
        return drive(plan, self.host(), capacity=2, run_id="run")

    def host(self) -> ThreadHost:
        return ThreadHost(
            store=self.machine.store,
            cache=Cache(self.machine.root / "cache"),
            runner=Runner(
                runs=self.machine.runs,
                environment=dict(os.environ),
                grace_seconds=1.0,
            ),
            log_of=self.log_of,
            asks=lambda _: Answer(is_approved=True),
            notes=lambda _: None,
            warns=lambda _: None,
        )

    def log_of(self, title: str) -> Heard:
        return self.logs.setdefault(title, Heard(on_line=self.on_line))


@pytest.fixture
def runs(machine: Machine) -> Runs:
    return Runs(machine)


def test_a_pipeline_makes_a_version_from_what_its_nodes_wrote(runs: Runs) -> None:
    outcome = runs.run(CHAIN, parameters={"size": "3"})
    assert outcome.error is None
    assert {node.name: str(node.status) for node in outcome.nodes} == dict.fromkeys(
        ("make", "train", "release"), "complete"
    )
    train = outcome.nodes[1].executions
    assert [each.title for each in train] == ["train/1", "train/2"]
    assert [each.outcome.metadata["loss"] for each in train if each.outcome] == [0.5, 0.25]
    (version,) = outcome.versions
    assert str(version.uri) == "dataset://models/v1"
    assert version.n_files == 2
    assert catalog.find(runs.machine.store, DatasetUri.parse("dataset://models/v1")) == version
    assert runs.logs["train/1"].text.splitlines()[-1].endswith(" of run")


def test_a_failed_nodes_outputs_are_kept_and_handed_on(runs: Runs) -> None:
    text = """
    - pipeline:
        name: main
        nodes:
          - {name: fail, type: execution, step: fail, on-error: continue}
          - {name: train, type: execution, step: train}
        edges: [[fail.output.*, train.input.images]]
    """
    outcome = runs.run(text)
    assert outcome.verdict is Verdict.COMPLETE
    assert [str(node.status) for node in outcome.nodes] == ["failed", "complete"]
    failed = outcome.nodes[0].executions[0].outcome
    assert failed is not None
    assert failed.exit_code == 3
    assert [output.path for output in failed.outputs] == ["part.txt"]


def test_a_failure_ends_the_processes_beside_it_and_keeps_what_they_wrote(runs: Runs) -> None:
    asleep = threading.Event()
    runs.on_line = lambda line: asleep.set() if "asleep" in line else None
    text = """
    - pipeline:
        name: main
        nodes:
          - {name: sleep, type: execution, step: sleep}
          - {name: slow, type: execution, step: sleep, override: {command: [sleep 1, exit 4]}}
        edges: []
    """
    began = time.monotonic()
    outcome = runs.run(text)
    assert time.monotonic() - began < 100
    assert str(outcome.error).startswith("Node 'slow' failed: ")
    assert [str(node.status) for node in outcome.nodes] == ["stopped", "failed"]
    stopped = outcome.nodes[0].executions[0].outcome
    assert stopped is not None
    if asleep.is_set():
        assert [output.path for output in stopped.outputs] == ["before.txt"]


def test_what_ends_this_thread_ends_every_process(runs: Runs, tmp_path: Path) -> None:
    text = """
    - pipeline:
        name: main
        nodes:
          - {name: one, type: execution, step: sleep}
          - {name: two, type: execution, step: sleep}
          - name: asked
            type: execution
            step: make
            actions: [{when: node-starting, then: require-approval}]
        edges: [[one.dependency.*, asked.dependency.*]]
    """
    asleep = threading.Barrier(3, timeout=60)

    def meet(line: str) -> None:
        if "asleep" in line:
            asleep.wait()

    runs.on_line = meet
    runs.machine.write("valohai.yaml", dedent(STEPS) + dedent(text))
    loaded = load(runs.machine.checkout)
    plan = plan_pipeline(loaded, "main")

    def interrupt() -> None:
        asleep.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        drive(plan, runs.host(), capacity=2)
    assert sorted(runs.logs) == ["one", "two"]
    found = [p for p in Path("/proc").glob("[0-9]*/cmdline") if _is_ours(p, tmp_path)]
    assert found == []


def _is_ours(cmdline: Path, root: Path) -> bool:
    try:
        return str(root).encode() in cmdline.read_bytes()
    except OSError:
        return False
