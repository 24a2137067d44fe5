"""The files in `/valohai/config`, where a step finds what it was started with.

Five files, each as JSON and as YAML: `execution`, `inputs`, `parameters`, `runtime`, `api`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from prefect_datasets.valohai.plan import StepPlan

# Of more, nobody reads the list; writing YAML for people takes a minute for 100,000 of them. JSON
# is YAML too.
_MOST_PRETTY_FILES = 1_000


@dataclass(frozen=True, slots=True)
class ExecutionInfo:
    """What a step can learn about the run it is.

    Attributes:
        id: Id of the execution.
        counter: Its number among the executions of the project; valohai-utils shows it.
        created: When it was asked for: ISO 8601, UTC.
        title: What people call it; left out, the step's name.
        project: Project, in the form `owner/name`; scripts split it at the slash.
        project_id: Id of the project.
        commit: Commit of the checkout, or `~` and the time where there is none.
        tags: Tags of the run.
        more: Further keys of `execution.json` without their `valohai.`, such as `pipeline-id`,
            `pipeline-node-id` or `task-id`; they win over what is above.
    """

    id: str
    counter: int = 1
    created: str = ""
    title: str = ""
    project: str = "prefect/datasets"
    project_id: str = ""
    commit: str = ""
    tags: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of an input, where the step finds it.

    Attributes:
        name: Its path below the input's folder, with `/`.
        path: Its full path as the step sees it.
        n_bytes: Its size.
        uri: What it was asked for or found as: `datum://<id>`, else the URL.
        datum: Its id, where it is a datum.
        storage_uri: URL of its object, where it has one of its own.
        checksums: Digests by algorithm, such as `sha256`.
        metadata: Its metadata; left out of the file where empty.
    """

    name: str
    path: str
    n_bytes: int
    uri: str
    datum: str = ""
    storage_uri: str = ""
    checksums: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


def write_config_files(
    folder: Path,
    plan: StepPlan,
    execution: ExecutionInfo,
    resolved: Mapping[str, Sequence[InputFile]],
) -> None:
    """Write the ten files into `folder`, which exists.

    Args:
        folder: Where the step finds them as `/valohai/config`.
        plan: What runs.
        execution: What a step can learn about the run it is.
        resolved: The files of each input; inputs that are not named have none.
    """
    contents = {
        "execution": _execution(plan, execution),
        "inputs": {entry.name: _input(resolved.get(entry.name, ())) for entry in plan.inputs},
        "parameters": dict(plan.parameters),
        "runtime": {},
        "api": {},
    }
    is_large = sum(map(len, resolved.values())) > _MOST_PRETTY_FILES
    for name, content in contents.items():
        text = json.dumps(content, indent=None if is_large else 2, ensure_ascii=False)
        (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
        if not is_large:
            text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def _execution(plan: StepPlan, execution: ExecutionInfo) -> dict[str, Any]:
    known = {
        "execution-id": execution.id,
        "execution-counter": execution.counter,
        "execution-ctime": execution.created,
        "execution-qtime": execution.created,
        "execution-duration": 0,
        "execution-image": plan.image,
        "execution-status": "started",
        "execution-step": plan.step,
        "execution-tags": list(execution.tags),
        "execution-title": execution.title or plan.step,
        "commit-identifier": execution.commit,
        "project-id": execution.project_id,
        "project-name": execution.project,
        **execution.more,
    }
    return {f"valohai.{key}": value for key, value in known.items()}


def _input(files: Sequence[InputFile]) -> dict[str, Any]:
    """Describe an input; without `input_id`, which would make valohai-utils ask an API."""
    return {"files": [_file(file) for file in files]}


def _file(file: InputFile) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": file.name,
        "path": file.path,
        "size": file.n_bytes,
        "uri": file.uri,
        "datum_id": file.datum,
        "storage_uri": file.storage_uri,
        "checksums": dict(file.checksums),
        "metadata": [dict(file.metadata)] if file.metadata else [],
    }
    return {key: value for key, value in described.items() if value not in ("", {}, [])}
