"""What a person does in the Prefect UI, from the store's form to a training that nobody started.

Each step is done in a browser, by what is written on the page, against a server that the tests
start. With a folder in PREFECT_DATASETS_SCREENSHOTS they leave pictures of what they saw.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from prefect_datasets.flows.serve import SHIPPED
from tests.servers.faultproxy import FaultProxy
from tests.servers.prefect import PrefectServer, prefect_server
from tests.servers.process import MissingServerError, Served, running, unavailable

if TYPE_CHECKING:
    from tests.browser.pages import Pages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),  # one server and one browser for all of them
]

N_SERVED = len(SHIPPED) + 3  # served.py
STEPS = """
- step:
    name: train
    description: Train a model.
    image: python:3.11
    command:
      - 'echo ''{"accuracy": 0.97}'''
      - echo {parameter-value:model} > /valohai/outputs/model.txt
    parameters:
      - {name: epochs, type: integer, default: 3, min: 1, description: How often it sees a file.}
      - {name: model, choices: [small, large], default: small, description: Its size.}
- step:
    name: release
    image: python:3.11
    command: cp /valohai/inputs/model/* /valohai/outputs/
    inputs: [{name: model}]
- pipeline:
    name: train-and-release
    nodes:
      - name: train
        type: execution
        step: train
        actions: [{when: node-complete, then: require-approval}]
      - {name: release, type: execution, step: release}
    edges: [[train.output.*, release.input.model]]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is on the machine that serves: files to publish, and a valohai.yaml."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "valohai.yaml").write_text(STEPS)
    for number in range(200):
        file = folder / "pets" / ("cats", "dogs")[number % 2] / f"{number:03}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number}\n" * (50 + number * 20))
    (folder / "sensors").mkdir()
    (folder / "sensors" / "hall.csv").write_text("12.1\n12.4\n")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Generator[PrefectServer]:
    """A Prefect server, and a process that serves flows."""
    script = Path(__file__).with_name("served.py")
    command = [sys.executable, script, folder / "shelf", folder]
    home = folder / "prefect"
    home.mkdir()
    with (
        prefect_server(home) as server,
        running(command, folder, env=server.environment) as served,
    ):
        _wait_for_deployments(server, served, folder)
        yield server


@pytest.fixture(scope="module")
def pages(server: PrefectServer, folder: Path) -> Generator[Pages]:
    """A browser."""
    from tests.browser.pages import browser

    try:
        with browser(server, folder) as pages:
            yield pages
    except MissingServerError as error:
        unavailable(error)


@pytest.fixture
def proxy(seaweedfs: Served) -> Generator[FaultProxy]:
    """S3 that can be held up."""
    with FaultProxy(str(seaweedfs.options["endpoint_url"])) as proxy:
        yield proxy


def test_a_store_and_a_version(
    pages: Pages, proxy: FaultProxy, seaweedfs: Served, fresh_prefix: str, folder: Path
) -> None:
    _save_a_store(pages, f"{seaweedfs.url}/{fresh_prefix}", proxy.url, seaweedfs)
    package = proxy.fail("PUT", "hold", path="vhpkgzip")
    try:
        pages.form("publish-directory-served")
        pages.pick_block("lake")
        pages.write(Directory=str(folder / "pets"), Dataset="pets", Version="v1")
        pages.choose("Packaging", "on")
        pages.shoot("form-publish", height=1300)
        pages.submit()
        pages.wait_for("Running")
        pages.until("progress", pages.artifacts)
        pages.see(f"{pages.run_path}?tab=Artifacts", pages.page.get_by_text("PROGRESS"))
        pages.shoot("progress")
    finally:
        package.released.set()
    pages.wait_for("Completed")
    pages.logged("(dataset version package 1/1) uploading pets.v1.vhpkgzip")
    pages.shoot("run", height=1200)
    pages.sees(pages.artifact("dataset-pets"), "dataset://pets/v1")
    pages.shoot("summary", height=1800)
    pages.sees(pages.artifact("dataset-pets-packages"), "pets.v1.vhpkgzip")
    pages.shoot("packages")


def test_a_name_that_no_dataset_can_have(pages: Pages, folder: Path) -> None:
    pages.form("publish-directory-served")
    pages.write(Directory=str(folder / "pets"), Dataset="my pets")
    why = pages.main.get_by_text("a dataset such as sensor-data")
    pages.press(pages.page.get_by_role("button", name="Submit"), why)
    pages.shoot("refused", height=1300)
    assert "/run" in pages.page.url, "there is no run to look at"


def _save_a_store(pages: Pages, url: str, endpoint: str, served: Served) -> None:
    """Save a block in its form."""
    pages.open("/blocks/catalog")
    pages.page.get_by_role("textbox", name="Search blocks").fill("dataset")
    pages.sees(pages.main, "1 Block")
    pages.page.get_by_role("link", name="Create", exact=True).click()
    pages.write(Name="lake", URL=url)
    secrets = {name: served.options[name] for name in ("key", "secret")}
    options, secret_options = pages.json_fields()
    options.fill(json.dumps({"endpoint_url": endpoint}))
    secret_options.fill(json.dumps(secrets))
    pages.choose("Packaging", "on")
    pages.shoot("form-store", height=1200)
    pages.press_until_gone(pages.page.get_by_role("button", name="Save"))
    pages.page.wait_for_url("**/blocks/block/**")
    pages.sees(pages.main, "DatasetStore.load")
    pages.shoot("store", height=1200)
    assert str(served.options["secret"]) not in pages.page.content()


def test_an_approval(pages: Pages) -> None:
    pages.form("run-pipeline-served")
    pages.write(Pipeline="train-and-release")
    pages.submit()
    pages.wait_for("Paused")
    pages.until("the form", lambda: _described(pages))  # which comes after the pause
    asked = pages.page.get_by_role("dialog")
    menu = pages.page.get_by_role("button", name="Open menu")
    resume = pages.page.get_by_role("menuitem", name="Resume")
    pages.press(menu, resume)
    pages.press(resume, asked)
    pages.sees(asked, "accuracy = 0.97")
    pages.shoot("approval")
    pages.write(Comment="Good enough.")
    pages.press_until_gone(asked.get_by_role("button", name="Resume", exact=True))
    pages.wait_for("Completed")
    pages.logged("Good enough.")
    pages.sees(pages.artifact("pipeline-train-and-release"), "release")
    pages.shoot("pipeline", height=1200)


def _described(pages: Pages) -> str:
    """Return what a paused run asks, which is the last part of its form to be stored."""
    run = f"flow_runs/{pages.run}"
    form = pages.server.ask(run)["state"]["state_details"]["run_input_keyset"]
    return pages.server.ask(f"{run}/input/{form['description']}")


def test_a_steps_form(pages: Pages) -> None:
    pages.form("of-the-step")
    pages.shoot("form-step", height=1300)
    epochs = pages.field("spinbutton", "epochs")
    epochs.fill("0")
    pages.page.get_by_role("button", name="Submit").click()
    assert "greater than or equal to 1" in epochs.evaluate("field => field.validationMessage")
    epochs.fill("5")
    pages.choose("model", "large")
    pages.submit()
    pages.wait_for("Completed")
    pages.sees(pages.artifact("step-train"), "epochs")
    pages.shoot("step", height=1200)


def test_a_schedule_and_an_automation(pages: Pages, server: PrefectServer) -> None:
    nightly = pages.deployment("nightly")
    pages.see(nightly, pages.main.get_by_text("At 02:00 AM"))
    pages.until("runs that are due", lambda: _runs(server, nightly, "SCHEDULED"))
    pages.see(f"{nightly}?tab=Upcoming", pages.page.get_by_text("auto-scheduled"))
    pages.shoot("schedule", height=1200)
    pages.form("nightly")
    pages.submit()
    pages.wait_for("Completed")
    pages.see("/automations", pages.main.get_by_text("new version of sensor-data"))
    pages.shoot("automation")
    training = pages.deployment("on-new-version")
    pages.until("a training", lambda: _runs(server, training, "COMPLETED"), seconds=240)
    pages.see(training, pages.main.get_by_text("Completed", exact=True))
    pages.shoot("triggered", height=1200)
    event = pages.until("the event", lambda: _newest_event(server))
    address = f"/events/event/{event['occurred'][:10]}/{event['id']}"
    pages.see(address, pages.main.get_by_text(event["event"]))
    pages.shoot("event", height=1200)


def _runs(server: PrefectServer, deployment: str, state: str) -> list[dict[str, Any]]:
    """Return the runs of a deployment that are in a state."""
    of_deployment = {
        "deployment_id": {"any_": [deployment.rpartition("/")[2]]},
        "state": {"type": {"any_": [state]}},
    }
    return server.ask("flow_runs/filter", {"flow_runs": of_deployment})


def _newest_event(server: PrefectServer) -> dict[str, Any] | None:
    """Return the event of the newest version; the feed has it behind those of all runs."""
    named = {"event": {"name": ["prefect-datasets.version.created"]}}
    return next(iter(server.ask("events/filter", {"filter": named})["events"]), None)


def _wait_for_deployments(
    server: PrefectServer, served: subprocess.Popen[bytes], folder: Path
) -> None:
    """Wait until all are registered."""
    end = time.monotonic() + 240
    while time.monotonic() < end and served.poll() is None:
        if server.ask("deployments/count", {}) >= N_SERVED:
            return
        time.sleep(0.2)
    raise RuntimeError(f"Not served: {[log.read_text() for log in folder.glob('*.log')]}")
