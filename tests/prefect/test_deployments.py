"""What comes with the project is deployed and served, and one version starts one training."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import get_current_settings

from prefect_datasets import DatasetStore, once_per_version
from prefect_datasets.flows import publish_directory
from prefect_datasets.flows.serve import SHIPPED, shipped_flows
from tests.environment import clean_environment
from tests.prefect import observe
from tests.servers.process import program

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
WITH_EXAMPLES = re.sub(r"^#(?=  )", "", TEXT, flags=re.MULTILINE)

pytestmark = pytest.mark.slow  # starts Prefect in other processes


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of another process that uses the tests' server."""
    api = str(get_current_settings().api.url)
    (tmp_path / "home").mkdir()
    return {
        **clean_environment(tmp_path / "home"),
        "PREFECT_API_URL": api,
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }


@pytest.fixture
def block(tmp_path: Path) -> str:
    """Name of a saved block of the test's own."""
    name = f"of-test-{uuid.uuid4().hex[:8]}"
    DatasetStore(url=str(tmp_path / "store"), cache_dir=str(tmp_path / "cache")).save(name)
    return name


@contextmanager
def running(command: Sequence[str | Path], tmp_path: Path, env: dict[str, str]) -> Generator[Any]:
    """Run what serves; the block gets the process."""
    with (
        (tmp_path / "errors.txt").open("wb") as errors,
        subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def read_json(process: subprocess.Popen[str]) -> Any:
    """Read the document that a process prints before it goes on."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line.rstrip() == "}":
            break
    return json.loads(text)


# -- prefect.yaml -----------------------------------------------------------------------------


def entrypoints(text: str) -> dict[str, str]:
    return {each["name"]: each["entrypoint"] for each in yaml.safe_load(text)["deployments"]}


def test_prefect_yaml_has_every_shipped_flow_under_its_name() -> None:
    found = {
        name: load_flow_from_entrypoint(entry).name for name, entry in entrypoints(TEXT).items()
    }
    assert found == {name: name for name in found}
    assert set(found) == {each.name for each in shipped_flows()}
    assert len(found) == len(SHIPPED)


def deploy(path: Path, env: dict[str, str], *which: str) -> subprocess.CompletedProcess[str]:
    command = [program("prefect"), "--no-prompt", "deploy", *which, "--prefect-file", str(path)]
    return subprocess.run(
        command, cwd=path.parent, env=env, capture_output=True, text=True, timeout=250, check=False
    )


@pytest.fixture(autouse=True)
def no_automation_is_left(prefect_api: str) -> Generator[None]:
    """Deployments go without their automations, which go on for versions that other tests make."""
    yield
    with get_client(sync_client=True) as client:
        for each in client.request("POST", "/automations/filter", json={}).json():
            client.request("DELETE", "/automations/{id}", path_params={"id": each["id"]})


@pytest.fixture
def pool(environment: dict[str, str]) -> None:
    command = [program("prefect"), "--no-prompt", "work-pool", "create", "datasets"]
    subprocess.run(
        [*command, "--type", "process", "--overwrite"], check=True, env=environment, timeout=100
    )


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("pool")
def test_prefect_yaml_deploys_with_all_its_examples(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    assert len(entrypoints(WITH_EXAMPLES)) > len(entrypoints(TEXT)) >= 9
    file = tmp_path / "prefect.yaml"
    file.write_text(WITH_EXAMPLES)
    done = deploy(file, environment, "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    with get_client(sync_client=True) as client:
        deployed = {
            each.name: each
            for each in client.read_deployments()
            if each.work_pool_name == "datasets"
        }
        assert set(deployed) == set(entrypoints(WITH_EXAMPLES))
        (schedule,) = deployed["nightly-sensor-data"].schedules
        assert getattr(schedule.schedule, "timezone", "") == "Europe/Berlin"
        for name in ("train-on-sensor-data", "warm-sensor-data"):
            owner = f"prefect.deployment.{deployed[name].id}"
            answer = client.request("GET", f"/automations/related-to/{owner}")  # type: ignore[arg-type]
            (automation,) = answer.json()
            assert automation["trigger"]["expect"] == ["prefect-datasets.version.created"]
            assert "{{ event.resource.id }}" in str(automation["actions"][0]["parameters"])
        for each in deployed.values():
            client.delete_deployment(each.id)


@pytest.mark.usefixtures("pool")
def test_a_template_that_gives_an_invalid_name_is_not_deployed(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(WITH_EXAMPLES.replace("Berlin:%Y-%m-%d", "Berlin:%Y/%m/%d"))
    done = deploy(file, environment, "--name", "nightly-sensor-data")
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert "'{scheduled@Europe/Berlin:%Y/%m/%d}' does not match '^(a version such as v1" in said


# -- serve ------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_one_command_serves_them_all(
    tmp_path: Path, environment: dict[str, str], block: str
) -> None:
    command = [program("prefect-datasets"), "serve", "--store", block, "--json"]
    with running(command, tmp_path, environment) as process:
        told = read_json(process)
        assert told["store"] == str(tmp_path / "store")
        names = [each["name"] for each in told["deployments"]]
        assert names == [f"{each.name}/{each.name}-served" for each in shipped_flows()]
        run: Any = run_deployment("check-store/check-store-served", timeout=150, poll_interval=0.5)
        assert str(run.state.type.value) == "COMPLETED", observe.logs(run.id)
    assert process.returncode == 0
    assert "Traceback" not in (tmp_path / "errors.txt").read_text()


@pytest.mark.parametrize(
    ("api", "store", "said"),
    [
        (False, "{tmp}/store", "No Prefect API is configured"),
        (True, "s3:/bucket", "A URL needs ://"),
        (True, "nobody", "No saved block DatasetStore has the name"),
    ],
)
def test_serve_refuses_in_one_line(
    tmp_path: Path, environment: dict[str, str], api: bool, store: str, said: str
) -> None:
    if not api:
        del environment["PREFECT_API_URL"]
    command = [program("prefect-datasets"), "serve", "--store", store.format(tmp=tmp_path)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


# -- an automation ----------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_a_new_version_starts_one_training(
    tmp_path: Path, environment: dict[str, str], block: str
) -> None:
    """The example's file is served as it stands; only its default store is the test's."""
    saved = DatasetStore.load(block)
    assert isinstance(saved, DatasetStore)
    environment["PREFECT_DATASETS_STORE"] = saved.url
    command = [program("python"), ROOT / "examples" / "train_on_new_version.py"]
    readings = tmp_path / "readings"
    readings.mkdir()
    (readings / "a.csv").write_text("1\n2\n")
    version = f"v{uuid.uuid4().hex[:6]}"
    name = "train/train-on-new-version"
    with running(command, tmp_path, environment), get_client(sync_client=True) as client:
        deployment = observe.eventually(lambda: find(client, name), seconds=100)
        publish_directory(saved, str(readings), "sensor-data", version)
        (first,) = observe.eventually(lambda: ended(client, deployment, 1), seconds=100)
        assert first.parameters["version"] == f"dataset://sensor-data/{version}"
        run_deployment(name, parameters=first.parameters, timeout=0)
        _, second = observe.eventually(lambda: ended(client, deployment, 2), seconds=100)
        line = observe.eventually(
            lambda: [line for line in observe.logs(second.id) if "nothing to do" in line]
        )
        assert line == [
            f"train of dataset://sensor-data/{version} was done by {first.name}: nothing to do"
        ]


def find(client: Any, name: str) -> Any:
    try:
        return client.read_deployment_by_name(name).id
    except Exception:  # noqa: BLE001 - not there yet
        return None


def ended(client: Any, deployment: Any, n_runs: int) -> list[Any] | None:
    """Return the runs of a deployment, the first one first, when so many are completed."""
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )
    done = [run for run in runs if run.state.is_completed()]
    return done if len(done) >= n_runs else None


def test_a_run_that_failed_leaves_the_work_to_the_next(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    store = DatasetStore(url=str(tmp_path / "store"))
    publish_directory(store, str(tmp_path / "a.csv").rpartition("/")[0], "sensor-data", "v1")
    attempts: list[bool] = []

    @flow(retries=1)
    def train() -> None:
        with once_per_version("dataset://sensor-data/latest", store=store) as is_mine:
            attempts.append(is_mine)
            if len(attempts) == 1:
                raise OSError("the disk is full")

    train()
    train()
    assert attempts == [True, True, False], "failed, done, nothing to do"
