"""What edges hand a node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.errors import StepFailedError
from prefect_datasets.valohai.pipeline.graph import parse_edge
from prefect_datasets.valohai.pipeline.handover import Ended, EndedNode, Handed, hand_over
from prefect_datasets.valohai.pipeline.status import Status
from prefect_datasets.valohai.plan import Outcome, Output, StepPlan


def _execution(
    *paths: str,
    failed: bool = False,
    metadata: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    inputs: Mapping[str, tuple[str, ...]] | None = None,
    environment: Mapping[str, str] | None = None,
    datums: str = "",
) -> Ended:
    plan = StepPlan(
        step="step",
        image="",
        commands=(),
        parameters=parameters or {},
        inputs=(),
        environment=environment or {},
        repository=Path(),
    )
    outcome = Outcome(
        execution="",
        exit_code=int(failed),
        outputs=tuple(Output(path, 1, f"{datums}{number}") for number, path in enumerate(paths)),
        metadata=metadata or {},
        inputs=inputs or {},
        error=StepFailedError("It failed") if failed else None,
    )
    return Ended(plan, outcome)


def _hand(*edges: tuple[str, str], nodes: Mapping[str, EndedNode], **allowed: Any) -> Handed:
    return hand_over([parse_edge(*edge) for edge in edges], nodes, **allowed)


def _node(*executions: Ended, name: str = "a", status: Status = Status.COMPLETE) -> EndedNode:
    return EndedNode(name, status, executions)


def test_outputs_arrive_as_datums_in_their_order() -> None:
    node = _node(_execution("deep/a.jpg", "b.jpg", "c.txt"))
    handed = _hand(("a.output.*.jpg", "b.input.x"), nodes={"a": node})
    assert handed == Handed(inputs={"x": ("datum://0", "datum://1")})


def test_several_edges_fill_one_input_and_a_file_comes_once() -> None:
    nodes = {
        "a": _node(_execution("m.pb", "m.txt")),
        "c": _node(_execution("other", datums="c"), name="c"),
    }
    edges = [
        ("a.output.m*", "b.input.x"),
        ("a.output.*.pb", "b.input.x"),
        ("c.output.*", "b.input.x"),
    ]
    assert _hand(*edges, nodes=nodes).inputs == {"x": ("datum://0", "datum://1", "datum://c0")}


def test_of_files_at_one_path_the_last_is_handed_over() -> None:
    node = _node(_execution("live.txt", "live.txt"))
    assert _hand(("a.output.*", "b.input.x"), nodes={"a": node}).inputs == {"x": ("datum://1",)}


def test_files_that_would_overwrite_each_other_are_named() -> None:
    node = _node(_execution("cats/1.jpg", "dogs/1.jpg"))
    with pytest.raises(InvalidInputError, match=r"cats/1\.jpg of a and dogs/1\.jpg of a"):
        _hand(("a.output.*", "b.input.x"), nodes={"a": node})
    handed = _hand(("a.output.*", "b.input.x"), nodes={"a": node}, may_collide=["x"])
    assert len(handed.inputs["x"]) == 2


def test_executions_of_a_task_that_wrote_one_name_are_named() -> None:
    node = _node(_execution("model.pkl", datums="1"), _execution("model.pkl", datums="2"))
    with pytest.raises(InvalidInputError, match=r"model\.pkl of a/1 and model\.pkl of a/2"):
        _hand(("a.output.*", "b.input.x"), nodes={"a": node})


def test_a_task_hands_over_what_its_successful_executions_wrote() -> None:
    node = _node(
        _execution("1.pkl", datums="a"),
        _execution("2.pkl", datums="b", failed=True),
        _execution("3.pkl", datums="c"),
    )
    handed = _hand(("a.output.*", "b.input.x"), nodes={"a": node})
    assert handed.inputs == {"x": ("datum://a0", "datum://c0")}


def test_a_failed_node_that_is_gone_on_from_hands_over_what_it_has() -> None:
    failed = _node(_execution("part.txt", failed=True), status=Status.FAILED)
    edges = [("a.output.*", "b.input.x"), ("a.metadata.loss", "b.parameter.y")]
    handed = _hand(*edges, nodes={"a": failed})
    assert handed.inputs == {"x": ("datum://0",)}
    assert handed.parameters == {}
    assert "a.metadata.loss has no value" in handed.notes[0]
    nothing = _node(status=Status.FAILED)
    assert _hand(*edges, nodes={"a": nothing}).inputs == {"x": ()}


def test_an_edge_that_brings_nothing_is_an_error_that_says_what_there_was() -> None:
    node = _node(_execution("model.h5", "log.txt"))
    with pytest.raises(InvalidInputError) as told:
        _hand(("a.output.*.pkl", "b.input.x"), nodes={"a": node})
    assert str(told.value) == (
        "No edge brings a file to input 'x': edge [a.output.*.pkl, b.input.x]. 'a' wrote log.txt, "
        "model.h5. Correct the pattern, or make the input optional."
    )


def test_unless_the_input_may_be_empty() -> None:
    node = _node(_execution("model.h5"))
    handed = _hand(("a.output.*.pkl", "b.input.x"), nodes={"a": node}, may_be_empty=["x"])
    assert handed.inputs == {"x": ()}
    assert handed.notes == ("edge [a.output.*.pkl, b.input.x] brings no file",)


def test_resolved_inputs_are_handed_on() -> None:
    inputs = {"labels": ("dataset://x/v3",), "label-map": ("datum://m",), "images": ("datum://i",)}
    node = _node(_execution(inputs=inputs))
    handed = _hand(("a.input.label*", "b.input.x"), nodes={"a": node})
    assert handed.inputs == {"x": ("dataset://x/v3", "datum://m")}


@pytest.mark.parametrize(
    ("metadata", "key", "value"),
    [
        ({"loss": 0.5}, "loss", 0.5),
        ({"ids": [1, 2]}, "ids", [1, 2]),
        ({"best": {"loss": 3}}, "best.loss", 3),
        ({"best.loss": 4, "best": {"loss": 3}}, "best.loss", 4),
        ({"zero": 0}, "zero", 0),
        ({"no": False}, "no", False),
    ],
)
def test_the_last_value_of_metadata_fills_a_parameter(
    metadata: dict[str, Any], key: str, value: object
) -> None:
    node = _node(_execution(metadata=metadata))
    handed = _hand((f"a.metadata.{key}", "b.parameter.y"), nodes={"a": node})
    assert handed.parameters == {"y": value}


def test_metadata_that_was_not_printed_is_named_with_what_was() -> None:
    node = _node(_execution(metadata={"loss": 1, "f1": None}))
    with pytest.raises(InvalidInputError, match=r"printed no metadata 'los'.*It printed f1, loss"):
        _hand(("a.metadata.los", "b.parameter.y"), nodes={"a": node})
    with pytest.raises(InvalidInputError, match="printed no metadata 'f1'"):
        _hand(("a.metadata.f1", "b.parameter.y"), nodes={"a": node})


def test_executions_of_a_task_hand_over_a_list_where_they_differ() -> None:
    node = _node(
        _execution(metadata={"loss": 1, "same": 7}, parameters={"lr": 0.1}),
        _execution(metadata={"loss": 2, "same": 7}, parameters={"lr": 0.2}),
    )
    edges = [
        ("a.metadata.loss", "b.parameter.losses"),
        ("a.metadata.same", "b.parameter.same"),
        ("a.parameter.lr", "b.parameter.rates"),
    ]
    handed = _hand(*edges, nodes={"a": node})
    assert handed.parameters == {"losses": [1, 2], "same": 7, "rates": [0.1, 0.2]}


def test_parameters_and_variables_are_copied() -> None:
    node = _node(_execution(parameters={"lr": 0.1}, environment={"MODE": "x"}))
    edges = [
        ("a.parameter.lr", "b.parameter.rate"),
        ("a.parameter.unset", "b.parameter.other"),
        ("a.environment-variable.MODE", "b.environment-variable.KIND"),
    ]
    handed = _hand(*edges, nodes={"a": node})
    assert handed.parameters == {"rate": 0.1}
    assert handed.environment == {"KIND": "x"}
    assert len(handed.notes) == 1


def test_an_edge_that_is_order_alone_hands_over_nothing() -> None:
    node = _node(_execution("x"))
    edges = [("a.dependency.*", "b.dependency.*"), ("a.output.x", "b.dependency.*")]
    assert _hand(*edges, nodes={"a": node}) == Handed()
