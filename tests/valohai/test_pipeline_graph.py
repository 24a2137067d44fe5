"""Edges: which are accepted, and what about a graph can't be right."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.graph import (
    Declared,
    Graph,
    findings,
    matches,
    parse_edge,
    parse_target,
)

# On a loaded machine an example may take long.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("source", "target", "read"),
    [
        ("a.output.m*", "b.input.x", "[a.output.m*, b.input.x]"),
        ("a.outputs.*.zip", "b.inputs.x", "[a.output.*.zip, b.input.x]"),
        ("a.output.sub/model.v1.pb", "b.input.x", "[a.output.sub/model.v1.pb, b.input.x]"),
        ("a.file.model", "b.file.model", "[a.output.model, b.input.model]"),
        ("a.input.x", "b.input.y", "[a.input.x, b.input.y]"),
        ("a.parameters.x", "b.parameter.y", "[a.parameter.x, b.parameter.y]"),
        ("a.metadata.x", "b.parameters.y", "[a.metadata.x, b.parameter.y]"),
        (
            "a.environment-variables.X",
            "b.environment-variable.Y",
            "[a.environment-variable.X, b.environment-variable.Y]",
        ),
        ("a.dependency.*", "b.dependencies.*", "[a.dependency.*, b.dependency.*]"),
        ("a.output.x", "b.dependency.*", "[a.output.x, b.dependency.*]"),
    ],
)
def test_edges_of_every_type_are_read(source: str, target: str, read: str) -> None:
    assert str(parse_edge(source, target)) == read


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("a.output", "b.input.x", "not node.type.key: a.output"),
        ("a..x", "b.input.x", "not node.type.key"),
        ("a.result.x", "b.input.x", "'result' is no type that a source"),
        ("a.output.x", "b.metadata.x", "'metadata' is no type that a target"),
        ("a.output.x", "b.parameter.x", "from an output to a parameter"),
        ("a.metadata.x", "b.input.x", "from a metadata to an input"),
        ("a.deployment.id", "b.parameter.x", "'deployment' is no type"),
    ],
)
def test_other_edges_are_refused(source: str, target: str, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        parse_edge(source, target)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.pkl", "a.pkl"),
        ("results/*.pkl", "results/a.pkl"),
        ("encoded_val/*", "encoded_val/deep/er/x"),
        ("model*", "model"),
        ("*best.pt", "train/weights/best.pt"),
        ("*.zip", "images/images.zip"),
        ("*", "any/thing"),
        ("odd[1].txt", "odd[1].txt"),
        ("a?c", "abc"),
        ("line*", "line\nbreak"),
    ],
)
def test_patterns_match_the_whole_path(pattern: str, path: str) -> None:
    assert matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.pkl", "a.pkl.txt"),
        ("model.pb", "sub/model.pb"),
        ("model.pb", "modelxpb"),
        ("results/*", "other/results/x"),
        ("Model*", "model"),
        ("[ab].txt", "a.txt"),
    ],
)
def test_and_nothing_else(pattern: str, path: str) -> None:
    assert not matches(pattern, path)


_PATHS = st.text("ab/.*?", min_size=1, max_size=8)


@_PATIENT
@given(pattern=_PATHS, path=_PATHS)
def test_without_brackets_the_standard_library_agrees(pattern: str, path: str) -> None:
    assert matches(pattern, path) == (fnmatchcase(path, pattern) or pattern == path)


def _faults(nodes: str, *edges: tuple[str, str], **declared: Declared) -> list[str]:
    graph = Graph(tuple(nodes), tuple(parse_edge(*edge) for edge in edges))
    return [finding.message for finding in findings(graph, declared)]


def test_a_chain_and_a_diamond_are_right() -> None:
    diamond = [
        ("a.output.*", "b.input.x"),
        ("a.output.*", "c.input.x"),
        ("b.output.*", "d.input.x"),
        ("c.output.*", "d.input.x"),
    ]
    assert _faults("abcd", *diamond, d=Declared(inputs=["x"])) == []


def test_an_unknown_node_is_named_with_those_there_are() -> None:
    (fault,) = _faults("ab", ("a.output.*", "c.input.x"))
    assert fault == "edge [a.output.*, c.input.x]: there is no node 'c'. There are a, b."


def test_an_undeclared_end_is_named_with_those_declared() -> None:
    step = Declared(inputs=["images", "labels"])
    (fault,) = _faults("ab", ("a.output.*", "b.input.image"), b=step)
    assert "the step of 'b' has no input 'image'. Did you mean 'images'?" in fault
    (fault,) = _faults("ab", ("a.metadata.x", "b.parameter.x"), b=step)
    assert fault.endswith("the step of 'b' has no parameter 'x'. There are none.")
    (fault,) = _faults("ab", ("a.parameter.x", "b.parameter.x"), a=step)
    assert "the step of 'a' has no parameter 'x'" in fault


def test_a_source_may_name_inputs_by_a_pattern_and_a_target_may_not() -> None:
    step = Declared(inputs=["labels"])
    assert _faults("ab", ("a.input.labels*", "b.input.labels"), a=step, b=step) == []
    assert len(_faults("ab", ("a.input.labels", "b.input.labels*"), a=step, b=step)) == 1


def test_only_one_edge_fills_a_parameter() -> None:
    edges = [("a.metadata.x", "c.parameter.x"), ("b.metadata.x", "c.parameters.x")]
    assert _faults("abc", *edges) == ["another edge fills c.parameter.x, and only one can"]


def test_several_edges_fill_an_input() -> None:
    assert _faults("abc", ("a.output.x", "c.input.x"), ("b.output.x", "c.input.x")) == []


def test_a_circle_is_shown() -> None:
    edges = [("a.output.x", "b.input.x"), ("b.output.x", "c.input.x"), ("c.output.x", "b.input.y")]
    (fault,) = _faults("abc", *edges)
    assert fault in (
        "the edges go in a circle: b -> c -> b",
        "the edges go in a circle: c -> b -> c",
    )
    assert _faults("a", ("a.output.x", "a.input.x")) == ["the edges go in a circle: a -> a"]


def test_two_nodes_of_one_name_are_told() -> None:
    assert _faults("aba") == ["2 nodes have the name 'a'"]


def test_a_pipeline_parameter_fills_parameters_only() -> None:
    assert str(parse_target("train.parameters.lr")) == "train.parameter.lr"
    with pytest.raises(InvalidInputError, match=r"node\.parameter\.name"):
        parse_target("train.input.images")
