"""A flow made of a step: its form on a real server, and its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.flows import step_deployment
from prefect_datasets.flows.step_deployment import step_flow
from tests.valohai.files import write

FILE = """
    - step:
        name: train
        description: Train the model.
        image: python:3.11
        command:
          - echo "{parameters}" > /valohai/outputs/parameters.txt
          - env | grep ^LEVEL= > /valohai/outputs/level.txt
          - cp /valohai/inputs/data/* /valohai/outputs/
        parameters:
          - {name: learning-rate, type: float, default: 0.1, min: 0, max: 1, description: How fast.}
          - {name: epochs, type: integer, min: 1}
          - {name: model, choices: [small, large], default: small}
          - {name: note, optional: true}
        inputs:
          - {name: data, description: What to train on.}
          - {name: extra, optional: true}
        environment-variables:
          - {name: LEVEL, default: info}
    - step: {name: simple, image: any, command: "true"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, FILE)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(url=str(tmp_path / "store"))


def read(outcome: Any, store: DatasetStore) -> dict[str, str]:
    """Return the contents of a run's outputs."""
    root = Path(store.url) / "outputs" / outcome.execution / "files"
    return {each.path: (root / each.path).read_text() for each in outcome.outputs}


def test_the_form_has_what_the_step_says_of_itself(file: Path) -> None:
    schema = parameter_schema(step_flow("train", file=file).fn)
    assert list(schema.properties) == ["store", "parameters", "inputs", "environment", "options"]
    assert schema.required == ["store", "parameters", "inputs"]
    rate = schema.properties["parameters"]["properties"]["learning-rate"]
    assert (rate["description"], rate["minimum"], rate["maximum"]) == ("How fast.", 0, 1)
    assert schema.properties["inputs"]["properties"]["data"]["description"] == "What to train on."
    assert "Train the model." in (step_flow("train", file=file).description or "")


def test_a_step_that_needs_nothing_is_called_with_nothing(file: Path, store: DatasetStore) -> None:
    assert parameter_schema(step_flow("simple", file=file).fn).required == ["store"]
    assert step_flow("simple", file=file)(store).exit_code == 0


def test_a_run_gets_what_is_given_and_the_defaults_of_the_file(
    file: Path, store: DatasetStore
) -> None:
    outcome = step_flow("train", file=file)(
        store,
        parameters={"epochs": 3, "note": None},
        inputs={"data": [file.as_uri()]},
        environment={"LEVEL": "debug"},
    )
    assert read(outcome, store) == {
        "level.txt": "LEVEL=debug\n",
        "parameters.txt": "--learning-rate=0.1 --epochs=3 --model=small\n",
        "valohai.yaml": file.read_text(),
    }


@pytest.mark.parametrize("name", ["train / test", "{braces} & <more>", "50 %"])
def test_a_step_may_be_called_anything(tmp_path: Path, store: DatasetStore, name: str) -> None:
    file = write(tmp_path, f"- step: {{name: {name!r}, image: any, command: 'true'}}")
    assert step_flow(name, file=file)(store).exit_code == 0


def test_what_no_server_looked_at_is_refused_by_the_run(file: Path, store: DatasetStore) -> None:
    with pytest.raises(InvalidInputError, match="Parameter 'epochs' is out of its limits: 0"):
        step_flow("train", file=file)(
            store, parameters={"epochs": 0}, inputs={"data": [file.as_uri()]}
        )


def test_serving_ships_the_flow_by_value(file: Path) -> None:
    """As `serve` does; its child process knows the flow by what was pickled alone."""
    shipped: Flow[..., Any] = cloudpickle.loads(cloudpickle.dumps(step_flow("train", file=file)))
    again = parameter_schema(shipped.fn)
    assert again.model_dump() == parameter_schema(step_flow("train", file=file).fn).model_dump()


def test_what_is_served_is_found_again_by_its_entrypoint(file: Path, store: DatasetStore) -> None:
    deployment: Any = step_flow("simple", file=file).to_deployment(name="served")
    again: Flow[..., Any] = load_flow_from_entrypoint(deployment.entrypoint)
    assert again.name == "simple"
    assert again(store).exit_code == 0


def test_the_module_has_no_other_names_than_those() -> None:
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        step_deployment.train  # noqa: B018  # pyright: ignore[reportUnusedExpression]


GOOD: dict[str, Any] = {"parameters": {"epochs": 1}, "inputs": {"data": ["s3://bucket/key"]}}


def test_the_server_refuses_wrong_values_before_there_is_a_run(
    file: Path, store: DatasetStore
) -> None:
    store.save("form", overwrite=True)
    deployment: Any = step_flow("train", file=file).to_deployment(name="form")
    saved = {"store": {"$ref": {"block_document_slug": "dataset-store/form"}}}
    with get_client(sync_client=True) as client:
        known = client.read_deployment(deployment.apply())

        def told(**given: object) -> str:
            try:
                client.create_flow_run_from_deployment(known.id, parameters={**saved, **given})
            except PrefectHTTPStatusError as error:
                return str(error.response.json()["detail"])
            return "a run"

        assert told(**GOOD) == "a run"
        assert told(**GOOD | {"parameters": {"epochs": 2, "note": None}}) == "a run"
        assert "'parameters' is a required property" in told()
        assert "'epochs' is a required property" in told(**GOOD | {"parameters": {}})
        assert "0 is less than the minimum of 1" in told(**GOOD | {"parameters": {"epochs": 0}})
        assert "not one of ['small', 'large']" in told(
            **GOOD | {"parameters": {"epochs": 1, "model": "huge"}}
        )
        assert "('epoch' was unexpected)" in told(
            **GOOD | {"parameters": {"epochs": 1, "epoch": 1}}
        )
        assert "('dtaa' was unexpected)" in told(**GOOD | {"inputs": {"dtaa": ["s3://b/k"]}})
        assert "should be non-empty" in told(**GOOD | {"inputs": {"data": []}})
        assert "does not match" in told(**GOOD | {"inputs": {"data": ["images"]}})
