"""valohai.yaml.example: without a fault, and run from beginning to end through S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.pipeline.plan import plan_pipeline
from prefect_datasets.valohai.plan import Given
from prefect_datasets.valohai.reading.config import load
from prefect_datasets.valohai.reading.form import step_form
from prefect_datasets.valohai.reading.step import plan_step
from tests.cli.conftest import Done, Run

FILE = Path(__file__).parents[2] / "valohai.yaml.example"
STEPS = ["prepare-images", "prepare-sensor-data", "train", "evaluate"]
PIPELINE = "images-and-sensors"


def test_there_is_nothing_to_say_about_the_file() -> None:
    config = load(FILE)
    assert config.names("step") == STEPS
    assert config.names("pipeline") == [PIPELINE]
    assert config.warnings == ()
    for name in STEPS[:3]:
        assert plan_step(config, name).warnings == ()
    with pytest.raises(InvalidInputError, match="Input 'model' has no URI"):
        plan_step(config, "evaluate")


def test_every_step_has_a_form_that_explains_itself() -> None:
    config = load(FILE)
    for name in STEPS:
        form = step_form(config, name)
        assert form.description


def test_the_pipeline_can_be_planned() -> None:
    plan = plan_pipeline(load(FILE), PIPELINE, Given(parameters={"version": "v2"}))
    assert list(plan.nodes) == ["images", "sensors", "train", "evaluate"]
    assert plan.warnings == ()


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_the_steps_run_one_after_the_other_through_s3(run: Run, store: str) -> None:
    def step(name: str, *arguments: str) -> Done:
        done = run("run", name, "-f", FILE, *arguments, "--store", store, "--json")
        assert done.code == 0, done.err
        return done

    images = step("prepare-images", "-p", "per-class=10")
    (version,) = images.json["versions"]
    assert (version["uri"], version["n_files"]) == ("dataset://my-images/v1", 30)
    assert len(version["packages"]) == 1
    assert "(dataset version package 1/1) uploading my-images.v1.vhpkgzip" in images.err

    (sensors,) = step("prepare-sensor-data", "-p", "days=31").json["versions"]
    assert sensors["uri"] == "dataset://sensor-data/year-2024"
    assert sensors["packages"]

    trained = step("train", "-p", "epochs=3")
    assert trained.json["inputs"] == {
        "images": ["dataset://my-images/v1"],
        "sensors": ["dataset://sensor-data/year-2024"],  # what `latest` was
    }
    assert trained.json["metadata"]["epoch"] == 3
    (model,) = trained.json["outputs"]

    evaluated = step("evaluate", "-i", f"model=datum://{model['datum']}")
    assert evaluated.json["metadata"]["images"] == 30
    assert evaluated.json["metadata"]["accuracy"] > 0.9


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_the_pipeline_runs_over_all_of_them_through_s3(run: Run, store: str) -> None:
    done = run(
        *["run", "--pipeline", PIPELINE, "-f", FILE, "-p", "version=v2"],
        *["--store", store, "--json"],
    )
    assert done.code == 0, done.err
    assert {node["name"]: node["status"] for node in done.json["nodes"]} == dict.fromkeys(
        ["images", "sensors", "train", "evaluate"], "complete"
    )
    assert sorted(version["uri"] for version in done.json["versions"]) == [
        "dataset://my-images/v2",
        "dataset://sensor-data/year-2024",
    ]
    evaluated = done.json["nodes"][-1]["executions"][0]
    assert evaluated["parameters"] == {"version": "v2"}
    assert evaluated["metadata"]["accuracy"] > 0.9
