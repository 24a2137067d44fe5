"""The nodes of a pipeline as they will run; those that can't run here are named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from valohai_yaml.objs import DeploymentNode, ExecutionNode, Step, Task, TaskNode
from valohai_yaml.objs.pipelines.node import Node
from valohai_yaml.objs.task import TaskType

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.actions import (
    Action,
    When,
    check_condition,
    parse_action,
    warnings_of,
)
from prefect_datasets.valohai.pipeline.graph import Finding, OnError
from prefect_datasets.valohai.pipeline.search import Axis, Search, SearchType, parse_axis
from prefect_datasets.valohai.pipeline.status import OnChildError, Rules
from prefect_datasets.valohai.reading.config import Config
from prefect_datasets.valohai.reading.names import suggest

_SEARCHES: dict[TaskType, SearchType] = {
    TaskType.GRID_SEARCH: "grid_search",
    TaskType.RANDOM_SEARCH: "random_search",
    TaskType.MANUAL_SEARCH: "manual_search",
}


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A node as it will run.

    Attributes:
        name: Its name.
        step: The step it runs.
        is_task: Whether it can have several executions.
        override: What it overrides of the step, as the file has it.
        appends: Whether files that edges bring come beside an input's defaults.
        rules: What is said of it; the nodes it comes after are not in there yet.
        actions: What to do when something happens to it.
        search: The values that its executions try.
        stop_condition: Expression over an execution's metadata; once it holds, no more are needed.
    """

    name: str
    step: str
    is_task: bool = False
    override: Mapping[str, Any] | None = None
    appends: bool = False
    rules: Rules = field(default_factory=Rules)
    actions: tuple[Action, ...] = ()
    search: Search = field(default_factory=Search)
    stop_condition: str = ""

    @property
    def ends_pipeline(self) -> bool:
        """Whether the pipeline has failed when it does."""
        return self.rules.on_error is not OnError.CONTINUE


@dataclass(slots=True)
class Report:
    """What turned out to be wrong, or worth a look, while a pipeline was read."""

    faults: list[Finding] = field(default_factory=list[Finding])
    warnings: list[Finding] = field(default_factory=list[Finding])


def read_node(
    config: Config, node: Node, raw: Mapping[str, Any], index: int, report: Report
) -> NodePlan | None:
    """Read a node; where it can't run, say why in `report` and return None."""
    keys = ("nodes", index)
    refusals = list(_refusals(node))
    report.faults += [Finding(keys, f"node {node.name!r} {why}", hint) for why, hint in refusals]
    if refusals or not isinstance(node, ExecutionNode | TaskNode):
        return None
    task = _blueprint(config, node)
    step = config.step(task.step if task else str(node.step))
    found = _Reading(node.name, keys, step, report)
    on_error = OnError(node.on_error.value)
    return NodePlan(
        name=node.name,
        step=step.name,
        is_task=isinstance(node, TaskNode),
        override=raw.get("override"),
        appends=node.edge_merge_mode.value == "append",
        rules=Rules(
            on_error=on_error,
            on_child_error=_on_child_error(task, on_error),
            most_at_once=(task.maximum_queued_executions or 0) if task else 0,
        ),
        actions=tuple(found.actions(node)),
        search=found.search(task) if task else Search(),
        stop_condition=found.stop_condition(task) if task else "",
    )


def _refusals(node: Node) -> Iterator[tuple[str, str]]:
    """Yield why a node can't run here, and what to do about it."""
    if isinstance(node, DeploymentNode):
        why = f"makes the deployment {node.deployment!r}, and nothing is deployed here"
        yield why, "Take it out of the pipeline."
    elif isinstance(node, ExecutionNode | TaskNode) and node.commit:
        why = f"takes its step from commit {node.commit!r}, and only this file's steps run here"
        yield why, "Copy the step into this file, and remove `commit:`."


def _blueprint(config: Config, node: ExecutionNode | TaskNode) -> Task | None:
    if isinstance(node, TaskNode) and node.task:
        return config.find("task", node.task).parsed
    return None


def _on_child_error(task: Task | None, on_error: OnError) -> OnChildError:
    """Say what a failed execution makes of its task; unsaid, the node's `on-error` tells.

    A node that is to be gone on from goes on with the executions that succeeded; where only what
    follows is to be stopped, the others are not.
    """
    if task and task.on_child_error:
        return OnChildError(task.on_child_error.value)
    told = {
        OnError.CONTINUE: OnChildError.CONTINUE_AND_COMPLETE,
        OnError.STOP_NEXT: OnChildError.CONTINUE_AND_ERROR,
    }
    return told.get(on_error, OnChildError.STOP_ALL_AND_ERROR)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A node that is being read."""

    name: str
    keys: tuple[str | int, ...]
    step: Step
    report: Report

    def _refuse(self, error: InvalidInputError, *keys: str | int, about: str = "") -> None:
        message = f"node {self.name!r}{about}: {error.message}"
        subject = f" ({error.subject})" if error.subject else ""
        self.report.faults.append(Finding((*self.keys, *keys), message + subject, error.hint))

    def _warn(self, message: str, *keys: str | int) -> None:
        self.report.warnings.append(Finding((*self.keys, *keys), f"node {self.name!r}: {message}"))

    def actions(self, node: ExecutionNode | TaskNode) -> Iterator[Action]:
        for index, written in enumerate(node.actions):
            keys = ("actions", index)
            try:
                action = parse_action(sorted(written.when), written.if_, written.then)
            except InvalidInputError as error:
                self._refuse(error, *keys)
                continue
            for warning in warnings_of(action):
                self._warn(warning, *keys)
            asks_metadata = any("metadata." in condition for condition in action.conditions)
            if asks_metadata and When.STARTING in action.when:
                self._warn("when it starts it has no metadata to ask for", *keys)
            if asks_metadata and isinstance(node, TaskNode):
                self._warn("metadata of a task is what its last execution printed", *keys)
            yield action

    def search(self, task: Task) -> Search:
        if task.type not in _SEARCHES:
            what = f"Task {task.name!r} is of type {task.type.value}, which is not supported"
            hint = "Types that are: grid_search, random_search, manual_search."
            self._refuse(InvalidInputError(what, hint=hint))
            return Search()
        if task.reuse_children:
            self._warn(f"task {task.name!r} has reuse-children: every execution runs anew")
        for number, values in enumerate(task.parameter_sets, 1):
            for name in values:
                self._check_parameter(name, f"set {number} of task {task.name!r}")
        sets = tuple(task.parameter_sets)
        if sets and task.type is not TaskType.MANUAL_SEARCH:
            self._warn(f"task {task.name!r} has parameter-sets, which only a manual search tries")
            sets = ()
        return Search(
            type=_SEARCHES[task.type],
            axes=dict(self._axes(task)),
            sets=sets,
            n_executions=task.execution_count or 0,
        )

    def stop_condition(self, task: Task) -> str:
        if not task.stop_condition:
            return ""
        try:
            check_condition(task.stop_condition)
        except InvalidInputError as error:
            self._refuse(error, about=f", task {task.name!r}")
            return ""
        return task.stop_condition

    def _axes(self, task: Task) -> Iterator[tuple[str, Axis]]:
        for variant in task.parameters:
            if not self._check_parameter(variant.name, f"task {task.name!r}"):
                continue
            is_whole = self.step.parameters[variant.name].type == "integer"
            try:
                axis = parse_axis(variant.style.value, variant.rules or {}, is_whole=is_whole)
            except InvalidInputError as error:
                self._refuse(error, about=f", task {task.name!r}, parameter {variant.name!r}")
                continue
            yield variant.name, axis

    def _check_parameter(self, name: str, where: str) -> bool:
        if name in self.step.parameters:
            return True
        what = f"Step {self.step.name!r} has no parameter {name!r}"
        error = InvalidInputError(what, hint=suggest(name, self.step.parameters))
        self._refuse(error, about=f", {where}")
        return False
