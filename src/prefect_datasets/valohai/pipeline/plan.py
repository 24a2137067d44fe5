"""Plan a pipeline: all that can be wrong with it is found before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from valohai_yaml.objs import Pipeline

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline import parameters as pipeline_parameters
from prefect_datasets.valohai.pipeline.graph import (
    Declared,
    Edge,
    Finding,
    Graph,
    Socket,
    findings,
    parse_edge,
    parse_target,
)
from prefect_datasets.valohai.pipeline.handover import Handed
from prefect_datasets.valohai.pipeline.jobs import JobPlan, plan_executions, stand_in
from prefect_datasets.valohai.pipeline.nodes import NodePlan, Report, read_node
from prefect_datasets.valohai.pipeline.parameters import PipelineParameter, distribute
from prefect_datasets.valohai.plan import Given
from prefect_datasets.valohai.reading.config import Config
from prefect_datasets.valohai.reading.faults import Fault, refuse

_NOT_KNOWN_TO_LINT = "is not well-known"
# Options of the command line, as hints about a step name them.
_OPTION = re.compile(r"(-[pi] )(?=\S+=)")


@dataclass(frozen=True, slots=True)
class PipelinePlan:
    """A pipeline that can run.

    Attributes:
        name: Its name.
        config: The file.
        graph: Its nodes and edges.
        nodes: Each node, in the file's order.
        given: What each node is given from outside, by pipeline parameters or for itself.
        fill: Writes what is only known now, such as a date, into text values and URIs.
        warnings: What the user should know before it runs, a line each.
    """

    name: str
    config: Config
    graph: Graph
    nodes: Mapping[str, NodePlan]
    given: Mapping[str, Given]
    fill: Callable[[str], str] = str
    warnings: tuple[str, ...] = ()

    def executions(self, node: str, handed: Handed, *, seed: str) -> tuple[JobPlan, ...]:
        """Plan the executions of a node.

        Args:
            node: Its name.
            handed: What edges bring.
            seed: The same for the same random draws.

        Raises:
            InvalidInputError: What is handed does not fit.
        """
        return plan_executions(
            self.config, self.nodes[node], self.given[node], handed, fill=self.fill, seed=seed
        )

    def inputs_that_may_be_empty(self, node: str) -> frozenset[str]:
        """Return the inputs of a node for which it is right that edges bring no file."""
        inputs = self.config.step(self.nodes[node].step).inputs
        if not self.nodes[node].appends:
            return frozenset(name for name, each in inputs.items() if each.optional)
        # What is appended to need not be much: whether there is a default is the step's to say.
        return frozenset(inputs)

    def inputs_with_folders(self, node: str) -> frozenset[str]:
        """Return the inputs of a node whose files keep their folders."""
        inputs = self.config.step(self.nodes[node].step).inputs
        return frozenset(n for n, each in inputs.items() if each.keep_directories.value != "none")


def plan_pipeline(
    config: Config,
    name: str,
    given: Given | None = None,
    *,
    fill: Callable[[str], str] = str,
    seed: str = "",
) -> PipelinePlan:
    """Decide what a run of a pipeline will be.

    Args:
        config: The file.
        name: The pipeline.
        given: What comes from outside. Parameters are named as the pipeline names them, or
            `node.parameter`; inputs `node.input`; variables are for all nodes.
        fill: Writes what is only known now, such as a date, into text values and URIs.
        seed: The same for the same random draws.

    Raises:
        InvalidInputError: There is no such pipeline, something in it can't run here, or what is
            given does not fit it.
    """
    report = Report()
    parsed = config.pipeline(name)
    nodes = dict(_nodes(config, parsed, name, report))
    edges = list(_edges(parsed, nodes, report))
    graph = Graph(tuple(nodes), tuple(edges))
    declared = {node: _declared(config, plan) for node, plan in nodes.items()}
    parameters = list(_parameters(parsed, report))
    report.faults += _doubled(parsed)
    if not report.faults:
        report.faults += findings(graph, declared)
        report.faults += pipeline_parameters.findings(parameters, declared)
    _raise_if_faulty(config, name, report)
    outside = given or Given()
    shares = distribute(
        graph,
        parameters,
        declared,
        given_parameters=outside.parameters,
        given_inputs=outside.inputs,
    )
    plan = PipelinePlan(
        name=parsed.name,
        config=config,
        graph=graph,
        nodes={node: _with_sources(each, graph) for node, each in nodes.items()},
        given={
            node: replace(
                outside,
                parameters=shares.parameters.get(node, {}),
                inputs=shares.inputs.get(node, {}),
                override=each.override,
            )
            for node, each in nodes.items()
        },
        fill=fill,
    )
    _check_given_inputs(plan)
    warnings = _try_out(plan, report, seed)
    _raise_if_faulty(config, name, report)
    return replace(plan, warnings=(*_warnings(plan, report, parsed), *warnings))


def _nodes(
    config: Config, parsed: Pipeline, name: str, report: Report
) -> Iterator[tuple[str, NodePlan]]:
    raw = config.raw("pipeline", name)["nodes"]
    for index, node in enumerate(parsed.nodes):
        if plan := read_node(config, node, raw[index], index, report):
            yield node.name, plan


def _edges(parsed: Pipeline, nodes: Mapping[str, NodePlan], report: Report) -> Iterator[Edge]:
    """Read the edges; those of nodes that can't run here are refused with them."""
    refused = {node.name for node in parsed.nodes} - nodes.keys()
    for index, written in enumerate(parsed.edges):
        if {written.source_node, written.target_node} & refused:
            continue
        try:
            yield parse_edge(written.source, written.target)
        except InvalidInputError as error:
            report.faults.append(_finding(("edges", index), error))
        if written.configuration:
            what = f"the configuration of edge [{written.source}, {written.target}] is not used"
            report.warnings.append(Finding(("edges", index), what))


def _parameters(parsed: Pipeline, report: Report) -> Iterator[PipelineParameter]:
    for index, written in enumerate(parsed.parameters):
        targets: list[Socket] = []
        for target in written.targets:
            try:
                targets.append(parse_target(target))
            except InvalidInputError as error:
                about = f"pipeline parameter {written.name!r}: "
                report.faults.append(_finding(("parameters", index), error, about))
        yield PipelineParameter(written.name, tuple(targets), written.default)


def _doubled(parsed: Pipeline) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, parameter in enumerate(parsed.parameters):
        if parameter.name in seen:
            what = f"two pipeline parameters have the name {parameter.name!r}"
            yield Finding(("parameters", index), what)
        seen.add(parameter.name)


def _declared(config: Config, plan: NodePlan) -> Declared:
    step = config.step(plan.step)
    return Declared(inputs=list(step.inputs), parameters=list(step.parameters))


def _with_sources(plan: NodePlan, graph: Graph) -> NodePlan:
    return replace(plan, rules=replace(plan.rules, after=graph.sources(plan.name)))


def _check_given_inputs(plan: PipelinePlan) -> None:
    """See that nobody gives what an edge replaces.

    Raises:
        InvalidInputError: Somebody does.
    """
    for node, given in plan.given.items():
        for edge in plan.graph.into(node):
            is_given = edge.target.type == "input" and edge.target.key in given.inputs
            if is_given and not plan.nodes[node].appends:
                raise InvalidInputError(
                    "What an edge fills can't be given",
                    subject=str(edge.target),
                    hint=f"The edge is {edge}; with edge-merge-mode append it could be.",
                )


def _try_out(plan: PipelinePlan, report: Report, seed: str) -> list[str]:
    """Plan every execution with stand-ins for what edges will bring; return warnings."""
    warnings: dict[str, None] = {}
    for index, (name, node) in enumerate(plan.nodes.items()):
        handed = stand_in(plan.config.step(node.step), plan.graph.into(name))
        try:
            jobs = plan.executions(name, handed, seed=seed)
        except InvalidInputError as error:
            report.faults += _of_node(name, index, error)
            continue
        for job in jobs:
            warnings |= dict.fromkeys(f"node {name!r}: {line}" for line in job.plan.warnings)
    return list(warnings)


def _of_node(name: str, index: int, error: InvalidInputError) -> Iterator[Finding]:
    """Tell a step's faults as its node's; what is to be given is to be given for the node."""
    keys, about = ("nodes", index), f"node {name!r}: "
    if not error.faults:
        found = _finding(keys, error, about)
        yield replace(found, hint=_for_node(name, found.hint))
    for fault in error.faults:
        yield Finding(keys, about + _for_node(name, fault))


def _for_node(name: str, hint: str) -> str:
    return _OPTION.sub(rf"\1{name}.", hint)


def _finding(keys: tuple[str | int, ...], error: InvalidInputError, about: str = "") -> Finding:
    subject = f" ({error.subject})" if error.subject else ""
    return Finding(keys, f"{about}{error.message}{subject}", error.hint)


def _warnings(plan: PipelinePlan, report: Report, parsed: Pipeline) -> Iterator[str]:
    for line in plan.config.warnings_about("pipeline", plan.name):
        if _NOT_KNOWN_TO_LINT not in line:  # the actions are known here
            yield line
    if parsed.reuse_executions:
        where = plan.config.where("pipeline", plan.name, "reuse-executions")
        yield f"{where}: reuse-executions is not supported: every node runs anew"
    for warning in report.warnings:
        where = plan.config.where("pipeline", plan.name, *warning.keys)
        yield f"{where}: {warning.message}"


def _raise_if_faulty(config: Config, name: str, report: Report) -> None:
    if report.faults:
        raise refuse(config.document, _faults(config, name, report.faults))


def _faults(config: Config, name: str, found: Iterable[Finding]) -> Iterator[Fault]:
    index = config.find("pipeline", name).index
    for finding in found:
        line = config.document.line(index, "pipeline", *finding.keys)
        yield Fault(line, finding.message, finding.hint)
