"""What a person sees of a pipeline's run."""

from __future__ import annotations

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.valohai.pipeline.graph import parse_edge
from prefect_datasets.valohai.pipeline.outcome import (
    ExecutionOutcome,
    NodeOutcome,
    PipelineEndedError,
    PipelineOutcome,
)
from prefect_datasets.valohai.pipeline.report import mermaid, summary
from prefect_datasets.valohai.pipeline.status import JobStatus, Status, Verdict


def _outcome() -> PipelineOutcome:
    executions = tuple(
        ExecutionOutcome(f"train/{n}", status, 1, {"lr": n / 10})
        for n, status in enumerate((JobStatus.COMPLETE, JobStatus.FAILED, JobStatus.COMPLETE), 1)
    )
    one = (ExecutionOutcome("make", JobStatus.COMPLETE, 1),)
    edges = [
        ("make.output.*.jpg", "train.input.images"),
        ("make.metadata.lr", "train.parameter.lr"),
        ("train.dependency.*", 'odd "<node>`.dependency.*'),
    ]
    return PipelineOutcome(
        id="run",
        name="main | one",
        verdict=Verdict.FAILED,
        nodes=(
            NodeOutcome("make", Status.COMPLETE, one, seconds=3.21),
            NodeOutcome("train", Status.FAILED, executions, DatasetError("No GPU"), seconds=75),
            NodeOutcome('odd "<node>`', Status.SKIPPED),
        ),
        edges=tuple(parse_edge(*edge) for edge in edges),
        error=PipelineEndedError("Node 'train' failed: No | GPU", hint="Buy\none."),
    )


def test_the_graph_has_every_node_and_what_is_handed_over() -> None:
    assert mermaid(_outcome()).splitlines() == [
        "flowchart LR",
        '  n0["make<br/>complete, 3.2 s"]:::complete',
        '  n1[["train<br/>failed, 2 of 3 complete, 1 failed, 1 min 15 s"]]:::failed',
        '  n2["odd #quot;#lt;node#gt;#96;<br/>skipped"]:::skipped',
        '  n0 -- "*.jpg to images<br/>lr to lr" --> n1',
        "  n1 --> n2",
        "  classDef complete fill:#d3f9d8,stroke:#2b8a3e,color:#1b4332",
        "  classDef failed fill:#ffe3e3,stroke:#c92a2a,color:#5c0a0a",
        "  classDef skipped fill:#f1f3f5,stroke:#868e96,color:#495057,stroke-dasharray:4",
    ]


def test_the_summary_tells_what_ended_it_and_what_was_tried() -> None:
    text = summary(_outcome())
    assert text.startswith("# main | one: failed\n\nNode 'train' failed: No \\| GPU. Buy one.")
    assert "| make | complete | 1 of 1 complete | 3.2 s |  |  |" in text
    assert "| train | failed | 2 of 3 complete, 1 failed | 1 min 15 s |  | No GPU. |" in text
    assert "| train/2 | failed | 0.2 |" in text
    assert text.count("```") == 2
