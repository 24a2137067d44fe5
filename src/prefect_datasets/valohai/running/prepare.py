"""Everything that has to be there before the first command of a step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.valohai.running import interpreter, namespace
from prefect_datasets.valohai.running.config_files import write_config_files
from prefect_datasets.valohai.running.directories import VALOHAI, Directories, Places
from prefect_datasets.valohai.running.namespace import Mount, Namespace
from prefect_datasets.valohai.running.repository import copy_repository
from prefect_datasets.valohai.running.script import plan_script
from prefect_datasets.valohai.running.step_inputs import StepInput, bring_input
from prefect_datasets.valohai.running.variables import variables

if TYPE_CHECKING:
    from typing import Literal

    from prefect_datasets.core.cache.cache import Cache
    from prefect_datasets.core.store import Store
    from prefect_datasets.valohai.plan import StepPlan
    from prefect_datasets.valohai.running.config_files import ExecutionInfo
    from prefect_datasets.valohai.running.runner import Runner, StepLog

_SCRIPT = "step.sh"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is run.

    Attributes:
        command: The command.
        prefix: What makes its namespace.
        folder: Its working directory, as it sees it.
        environment: All its variables.
        inputs: Its inputs.
    """

    command: tuple[str, ...]
    prefix: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    inputs: tuple[StepInput, ...]


def prepare(
    plan: StepPlan,
    *,
    info: ExecutionInfo,
    directories: Directories,
    store: Store,
    cache: Cache,
    runner: Runner,
    progress: StepLog,
) -> Prepared:
    """Fill the folders of a run; return what is run in them.

    Raises:
        DatasetError: An input can't be brought, or the namespace that is wanted can't be made.
        OSError: The disk is full, or a folder can't be written to.
    """
    own = _mounts(directories, plan)
    chosen = namespace.choose(runner.namespace, _view(own, directories))
    places = _places(chosen, directories, plan)
    _tell(chosen, places, runner, progress)
    inputs = _bring(plan, directories, places, store, cache, progress)
    if not plan.write_repository:
        copy_repository(plan.repository, directories.repository)
    files = {each.name: each.files for each in inputs}
    write_config_files(directories.config, plan, info, files)
    interpreter.make_environment(directories.root / "python", places.python)
    command = _write_script(plan, directories, chosen)
    mounts = [*own, *_input_mounts(inputs, directories)]
    return Prepared(
        command=command,
        prefix=tuple(namespace.prefix(chosen.kind, _view(mounts, directories))),
        folder=places.repository,
        environment=variables(
            plan.environment,
            info=info,
            places=places,
            machine=runner.environment,
            programs=interpreter.programs(),
        ),
        inputs=inputs,
    )


# -- the namespace -------------------------------------------------------------------------------


def _mounts(directories: Directories, plan: StepPlan) -> list[Mount]:
    repository = plan.repository if plan.write_repository else directories.repository
    script = directories.root / _SCRIPT
    script.touch()
    return [
        Mount(str(directories.config), f"{VALOHAI}/config"),
        Mount(str(directories.inputs), f"{VALOHAI}/inputs"),
        Mount(str(directories.outputs), f"{VALOHAI}/outputs", is_read_only=False),
        Mount(str(repository.resolve()), f"{VALOHAI}/repository", is_read_only=False),
        Mount(str(directories.root / "home"), f"{VALOHAI}/home", is_read_only=False),
        Mount(str(directories.root / "python"), f"{VALOHAI}/python", is_read_only=False),
        Mount(str(script), f"{VALOHAI}/{_SCRIPT}"),
    ]


def _input_mounts(inputs: Sequence[StepInput], directories: Directories) -> list[Mount]:
    return [
        Mount(str(each.folder), f"{VALOHAI}/inputs/{each.name}")
        for each in inputs
        if each.folder != directories.inputs / each.name
    ]


def _view(mounts: Sequence[Mount], directories: Directories) -> namespace.View:
    return namespace.view(
        mounts,
        temporary=directories.root / "tmp",
        folder=f"{VALOHAI}/repository",
        scratch=directories.root / "root",
    )


def _places(chosen: Namespace, directories: Directories, plan: StepPlan) -> Places:
    if chosen.kind != "plain":
        return Places.in_namespace()
    repository = plan.repository.resolve() if plan.write_repository else directories.repository
    return Places.plain(directories, repository=repository)


def _tell(chosen: Namespace, places: Places, runner: Runner, progress: StepLog) -> None:
    if chosen.kind != "plain":
        return
    why = f" ({'; '.join(chosen.faults)})" if chosen.faults else ""
    progress.warn(
        f"There is no {VALOHAI} for this step{why}: it finds its folders by VH_INPUTS_DIR, "
        f"VH_OUTPUTS_DIR, VH_CONFIG_DIR and VH_REPOSITORY_DIR ({Path(places.outputs).parent}), and "
        "nothing keeps it from changing other files of this machine. Install bubblewrap, or allow "
        "user namespaces."
        if runner.namespace == "auto"
        else f"Without a namespace, as told: the folders are in {Path(places.outputs).parent}"
    )


# -- files ---------------------------------------------------------------------------------------


def _bring(
    plan: StepPlan,
    directories: Directories,
    places: Places,
    store: Store,
    cache: Cache,
    progress: StepLog,
) -> tuple[StepInput, ...]:
    inputs: list[StepInput] = []
    for each in plan.inputs:
        found = bring_input(
            each,
            store=store,
            cache=cache,
            target=directories.inputs / each.name,
            place=f"{places.inputs}/{each.name}",
            folder_mode=_folder_mode(places),
            progress=progress,
        )
        inputs.append(found)
        progress.note(_described(found))
        progress.brought(found)
    return tuple(inputs)


def _folder_mode(places: Places) -> Literal["mount", "hardlink", "copy"]:
    """Return how inputs get into their folders.

    Where nothing is mounted read-only, root could write through a hard link into the cache.
    """
    if places.inputs.startswith(f"{VALOHAI}/"):
        return "mount"
    return "copy" if os.geteuid() == 0 else "hardlink"


def _described(found: StepInput) -> str:
    if not found.uris:
        return f"{found.name}: empty"
    fetched = found.n_fetched_bytes
    how = f"downloaded, {format_bytes(fetched)}" if fetched else "from the cache"
    uris = found.uris[0] if len(found.uris) == 1 else f"{len(found.uris)} URIs"
    files = count(len(found.files), "file")
    return f"{found.name}: {uris}, {files}, {format_bytes(found.n_bytes)}, {how}"


def _write_script(plan: StepPlan, directories: Directories, chosen: Namespace) -> tuple[str, ...]:
    shell = "bash" if shutil.which("bash") else "sh"
    script = plan_script(plan.commands, fail_fast=plan.fail_fast, shell=shell)
    path = directories.root / _SCRIPT
    path.write_text(script.text, encoding="utf-8", errors="surrogateescape")
    place = str(path) if chosen.kind == "plain" else f"{VALOHAI}/{_SCRIPT}"
    return (*script.interpreter, place)
