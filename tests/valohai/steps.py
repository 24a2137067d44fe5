"""Run steps in tests: a machine with a store, a cache and a checkout, and an ear."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.format import parts
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from prefect_datasets.valohai.plan import InputPlan, Outcome, StepPlan
from prefect_datasets.valohai.running.execute import execute
from prefect_datasets.valohai.running.runner import Control, NamespaceChoice, Runner

if TYPE_CHECKING:
    from prefect_datasets.valohai.running.config_files import ExecutionInfo
    from prefect_datasets.valohai.running.step_inputs import StepInput

PACKAGED = {"VH_ENABLE_DATASET_VERSION_PACKAGING": "1"}


@dataclass
class Heard:
    """A log that remembers."""

    lines: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    inputs: list[StepInput] = field(default_factory=list["StepInput"])
    on_line: Callable[[str], None] = field(default=lambda _: None)

    def start(self, what: str, *, n_files: int, n_bytes: int) -> None: ...

    def advance(self, *, n_files: int, n_bytes: int) -> None: ...

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def line(self, text: str) -> None:
        self.lines.append(text)
        self.on_line(text)

    def brought(self, found: StepInput) -> None:
        self.inputs.append(found)

    @property
    def text(self) -> str:
        """Everything that the step printed and the log shows."""
        return "\n".join(self.lines)


@dataclass
class Machine:
    """Where steps run: folders below one of the test's own."""

    root: Path
    store: Store
    namespace: NamespaceChoice = "auto"
    grace_seconds: float = 2.0
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def checkout(self) -> Path:
        folder = self.root / "checkout"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def write(self, path: str, text: str) -> None:
        """Write a file of the checkout."""
        file = self.checkout / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(
        self,
        *commands: str,
        inputs: Mapping[str, str | Sequence[str]] | Sequence[InputPlan] = (),
        log: Heard | None = None,
        control: Control | None = None,
        info: ExecutionInfo | None = None,
        packaging_switch: bool | None = None,
        environment: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Outcome:
        """Run commands as a step."""
        if isinstance(inputs, Mapping):
            inputs = [
                InputPlan(name, (uris,) if isinstance(uris, str) else tuple(uris))
                for name, uris in inputs.items()
            ]
        plan = StepPlan(
            step="test",
            image="python:3.11",
            commands=commands,
            parameters=dict(parameters or {}),
            inputs=tuple(inputs),
            environment=dict(environment or {}),
            repository=self.checkout,
            **more,
        )
        runner = Runner(
            runs=self.runs,
            packaging_switch=packaging_switch,
            environment=self.environment,
            namespace=self.namespace,
            grace_seconds=self.grace_seconds,
            look_seconds=0.1,
        )
        return execute(
            plan,
            store=self.store,
            cache=Cache(self.root / "cache"),
            runner=runner,
            log=log or Heard(),
            control=control,
            info=info,
        )

    def publish(self, uri: str, files: Mapping[str, str], *, packaging: bool = False) -> Outcome:
        """Make a version by a step, as scripts written for Valohai do."""
        self.write("files.json", json.dumps([uri, dict(files), packaging]))
        self.write("publish.py", PUBLISH)
        outcome = self.run("python publish.py", environment=PACKAGED)
        assert outcome.error is None, outcome.error
        return outcome

    def files_of(self, uri: str) -> list[str]:
        """Return the paths in a version."""
        record = catalog.find(self.store, DatasetUri.parse(uri))
        return parts.read_rows(self.store, record)["path"].to_pylist()

    def stored(self, outcome: Outcome) -> dict[str, bytes]:
        """Return what the store has of a run's outputs, read as datums."""
        from prefect_datasets.core.uri import DatumUri
        from prefect_datasets.core.versions.datums import find_datum

        found: dict[str, bytes] = {}
        for output in outcome.outputs:
            at = find_datum(self.store, DatumUri(output.datum)).stored
            found[output.path] = bytes(self.store.read_range(at.key, at.start, at.length))
        return found

    def kept(self) -> list[Path]:
        """Return the folders of runs that are still there."""
        return list(self.runs.iterdir()) if self.runs.is_dir() else []


PUBLISH = """
import json, os
uri, files, packaging = json.load(open("files.json"))
entry = {"uri": uri, "packaging": True} if packaging else uri
with open("/valohai/outputs/valohai.metadata.jsonl", "w") as lines:
    for path, text in files.items():
        target = "/valohai/outputs/" + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "w").write(text)
        body = {"file": path, "metadata": {"valohai.dataset-versions": [entry]}}
        lines.write(json.dumps(body) + "\\n")
"""


def machine(root: Path, store: Store | None = None) -> Machine:
    """Return a machine with a store of its own."""
    return Machine(root, store or open_store(str(root / "store")))


def processes(word: str) -> list[int]:
    """Return the processes whose command line has a word in it."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and word.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def until(look: Callable[[], bool], *, seconds: float = 30) -> bool:
    """Wait until something is so; tell whether it is."""
    end = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def all_gone(word: str) -> bool:
    """Wait until no process has a word in its command line."""
    return until(lambda: not processes(word))
