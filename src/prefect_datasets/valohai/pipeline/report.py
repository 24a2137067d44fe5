"""Describe a pipeline's run in Markdown, with a Mermaid graph coloured by how each node ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prefect_datasets.valohai.pipeline.graph import Edge
from prefect_datasets.valohai.pipeline.outcome import NodeOutcome, PipelineOutcome
from prefect_datasets.valohai.pipeline.status import JobStatus, Status

_MOST_EXECUTIONS = 200
_MOST_ERROR = 300
_MOST_LABELS = 3
_COLUMNS = ("node", "state", "executions", "took", "versions", "why")
# What Mermaid or the Markdown around it would take for its own.
_ENTITIES = str.maketrans(
    {
        "#": "#35;",
        '"': "#quot;",
        "<": "#lt;",
        ">": "#gt;",
        "`": "#96;",
        "\\": "#92;",
        "\n": " ",
        "\r": " ",
    }
)
_COLOURS = {
    Status.COMPLETE: "fill:#d3f9d8,stroke:#2b8a3e,color:#1b4332",
    Status.FAILED: "fill:#ffe3e3,stroke:#c92a2a,color:#5c0a0a",
    Status.STOPPED: "fill:#fff3bf,stroke:#e67700,color:#5f3700",
    Status.SKIPPED: "fill:#f1f3f5,stroke:#868e96,color:#495057,stroke-dasharray:4",
    Status.RUNNING: "fill:#d0ebff,stroke:#1971c2,color:#0b3d66",
    Status.WAITING: "fill:#f8f9fa,stroke:#adb5bd,color:#495057",
}


def summary(outcome: PipelineOutcome) -> str:
    """Describe a run in Markdown."""
    sections = [
        f"# {_plain(outcome.name)}: {outcome.verdict}",
        _escaped(str(outcome.error)) if outcome.error else "",
        f"```mermaid\n{mermaid(outcome)}\n```",
        _table(_COLUMNS, map(_row, outcome.nodes)),
        *_executions(outcome),
        _versions(outcome),
    ]
    return "\n\n".join(section for section in sections if section)


def mermaid(outcome: PipelineOutcome) -> str:
    """Draw a run as a Mermaid flow chart; tasks have double sides."""
    ids = {node.name: f"n{number}" for number, node in enumerate(outcome.nodes)}
    lines = ["flowchart LR"]
    for node in outcome.nodes:
        left, right = ("[[", "]]") if len(node.executions) > 1 else ("[", "]")
        lines.append(f'  {ids[node.name]}{left}"{_label(node)}"{right}:::{node.status}')
    for (source, target), labels in _arrows(outcome.edges).items():
        label = f' -- "{_joined(labels)}" -->' if labels else " -->"
        lines.append(f"  {ids[source]}{label} {ids[target]}")
    used = dict.fromkeys(node.status for node in outcome.nodes)
    lines += [f"  classDef {status} {_COLOURS[status]}" for status in used]
    return "\n".join(lines)


def lines(outcome: PipelineOutcome) -> list[tuple[str, str, str, str]]:
    """Return for each node its name, how it ended, how long it took, and what it made."""
    return [
        (
            node.name,
            str(node.status),
            _seconds(node.seconds),
            ", ".join(str(version.uri) for version in node.versions),
        )
        for node in outcome.nodes
    ]


def _label(node: NodeOutcome) -> str:
    facts = [str(node.status)]
    if len(node.executions) > 1:
        facts.append(_counts(node))
    if node.seconds:
        facts.append(_seconds(node.seconds))
    return f"{node.name.translate(_ENTITIES)}<br/>{', '.join(facts)}"


def _arrows(edges: Iterable[Edge]) -> dict[tuple[str, str], list[str]]:
    """Return one arrow for each pair of nodes, with what it carries."""
    found: dict[tuple[str, str], list[str]] = {}
    for edge in edges:
        labels = found.setdefault((edge.source.node, edge.target.node), [])
        if not edge.is_order:
            labels.append(f"{edge.source.key} to {edge.target.key}")
    return found


def _joined(labels: Sequence[str]) -> str:
    shown = [label.translate(_ENTITIES) for label in labels[:_MOST_LABELS]]
    if len(labels) > _MOST_LABELS:
        shown.append(f"and {len(labels) - _MOST_LABELS} more")
    return "<br/>".join(shown)


def _row(node: NodeOutcome) -> tuple[str, ...]:
    return (
        node.name,
        str(node.status),
        _counts(node),
        _seconds(node.seconds) if node.executions else "",
        ", ".join(f"`{version.uri}`" for version in node.versions),
        str(node.error)[:_MOST_ERROR] if node.error else "; ".join(node.notes)[:_MOST_ERROR],
    )


def _counts(node: NodeOutcome) -> str:
    """Say how many executions ended how: `3 of 4 complete, 1 failed`."""
    number = len(node.executions)
    if not number:
        return "none"
    complete = sum(each.status is JobStatus.COMPLETE for each in node.executions)
    others = {
        status: sum(each.status is status for each in node.executions)
        for status in (JobStatus.FAILED, JobStatus.STOPPED)
    }
    told = [f"{many} {status}" for status, many in others.items() if many]
    return ", ".join([f"{complete} of {number} complete", *told])


def _executions(outcome: PipelineOutcome) -> Iterator[str]:
    """List the executions of each task, with the values that they tried."""
    for node in outcome.nodes:
        if len(node.executions) < 2:
            continue
        names = list(dict.fromkeys(name for each in node.executions for name in each.tried))
        rows = [
            (each.title, str(each.status), *(str(each.tried.get(name, "")) for name in names))
            for each in node.executions[:_MOST_EXECUTIONS]
        ]
        yield f"## {_plain(node.name)}\n\n" + _table(("execution", "", *names), rows)
        if len(node.executions) > _MOST_EXECUTIONS:
            yield f"… and {len(node.executions) - _MOST_EXECUTIONS:,} more"


def _versions(outcome: PipelineOutcome) -> str:
    rows = [(f"`{v.uri}`", f"{v.n_files:,}", v.created) for v in outcome.versions]
    return "## Dataset versions\n\n" + _table(("", "files", "made"), rows) if rows else ""


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    written = [[_escaped(cell) for cell in row] for row in (head, *rows)]
    written.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(row)} |" for row in written)


def _escaped(text: str) -> str:
    return _plain(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _plain(text: str) -> str:
    return " ".join(text.split())
