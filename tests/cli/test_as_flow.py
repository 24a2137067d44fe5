"""With a Prefect API: `publish` and `package` are flow runs there, saved blocks are stores."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.cli.prefect_api import PrefectApi, configured_api
from tests.cli.conftest import Run
from tests.servers.process import free_ports, program

V1 = "dataset://pets/v1"

pytestmark = pytest.mark.slow  # starts Prefect for most commands


@pytest.fixture
def api(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    return prefect_api


@pytest.fixture
def block(api: str, spawn: Run, tmp_path: Path) -> str:
    """Name of a saved block whose store and cache are the test's own."""
    store, cache = tmp_path / "of block", tmp_path / "cache of block"
    code = (
        "from prefect_datasets import DatasetStore; "
        f"DatasetStore(url={str(store)!r}, cache_dir={str(cache)!r}, packaging='on')"
        ".save('pets-store', overwrite=True)"
    )
    subprocess.run([program("python"), "-c", code], check=True, timeout=100)
    return "pets-store"


def ask(url: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.load(reply)


def flow_runs(url: str, name: str) -> dict[str, str]:
    """Id and state of each run of a flow, those of other tests among them."""
    found = ask(url, "/flow_runs/filter", {"flows": {"name": {"any_": [name]}}})
    return {run["id"]: run["state_type"] for run in found}


def test_publish_and_package_are_flow_runs(
    spawn: Run, api: str, pets: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    options = ("--packaging", "off", "--alias", "prod", "--store", store)
    flows = ("publish-directory", "package-version")
    before = {name: flow_runs(api, name) for name in flows}
    done = spawn("publish", pets, "--to", V1, *options, "--json")
    assert done.code == 0, done.err
    (version,) = done.json["versions"]
    assert (version["uri"], version["n_files"], version["packages"]) == (V1, 6, [])
    done = spawn("package", "dataset://pets/prod", "--store", store)
    assert done.code == 0, done.err
    assert done.out == f"{V1}  6 files, 78 B, 1 package\n"
    for name in flows:
        new = {id_: state for id_, state in flow_runs(api, name).items() if id_ not in before[name]}
        assert list(new.values()) == ["COMPLETED"], name


@pytest.mark.usefixtures("api")
def test_a_failed_flow_is_one_line_without_traceback(
    spawn: Run, pets: Path, tmp_path: Path
) -> None:
    command = ("publish", pets, "--to", V1, "--store", tmp_path / "store")
    assert spawn(*command).code == 0
    (pets / "more.txt").touch()
    done = spawn(*command)
    assert done.code == 1
    assert "Traceback" not in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("prefect-datasets: ")
    assert V1 in last


@pytest.mark.usefixtures("api")
def test_a_saved_block_is_a_store(spawn: Run, block: str, pets: Path, tmp_path: Path) -> None:
    done = spawn("publish", pets, "--to", V1, "--store", block)
    assert done.code == 0, done.err
    assert done.out.endswith(", 1 package\n"), "the block packages"
    code = "import sys; from prefect_datasets.cli import main; assert main(sys.argv[1:]) == 0; "
    code += "assert 'prefect' not in sys.modules"
    command = [program("python"), "-c", code, "resolve", V1, "--store", block]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(str(tmp_path / "cache of block"))


@pytest.mark.usefixtures("api")
def test_no_such_block(run: Run) -> None:
    done = run("list", "--store", "nobody")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "nobody" in done.err


def test_an_api_that_does_not_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, pets: Path, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    for command in (
        ["list"],
        ["publish", str(pets), "--to", V1, "--store", str(tmp_path / "store")],
    ):
        done = run(*command)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert f"127.0.0.1:{port}" in done.err
    assert run("list", "--store", tmp_path / "store").code == 0, "the API is not needed"


PROFILES = """
active = "mine"
[profiles.mine]
PREFECT_API_URL = "http://profile/api"
PREFECT_API_KEY = "secret"
[profiles.other]
PREFECT_API_URL = "http://other/api"
[profiles.none]
"""


class TestConfiguredApi:
    """The places that Prefect reads, the strongest last."""

    @pytest.fixture(autouse=True)
    def profiles(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "profiles.toml").write_text(PROFILES)
        monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
        monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def test_the_active_profile(self) -> None:
        assert configured_api() == PrefectApi("http://profile/api", key="secret")

    def test_a_profile_that_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PREFECT_PROFILE", "other")
        assert configured_api() == PrefectApi("http://other/api")

    def test_a_profile_without_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PREFECT_PROFILE", "none")
        assert configured_api() is None

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("pyproject.toml", '[tool.prefect.api]\nurl = "http://file/api"\n'),
            ("prefect.toml", '[api]\nurl = "http://file/api"\n'),
            (".env", "# mine\nexport PREFECT_API_URL='http://file/api'\n"),
        ],
    )
    def test_files_of_the_working_directory(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        assert configured_api() == PrefectApi("http://file/api", key="secret")

    def test_the_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("PREFECT_API_URL=http://file/api\n")
        monkeypatch.setenv("PREFECT_API_URL", "http://environment/api")
        assert configured_api() == PrefectApi("http://environment/api", key="secret")

    def test_as_prefect_sees_it(self, tmp_path: Path) -> None:
        """The same settings, asked of Prefect itself."""
        (tmp_path / "prefect.toml").write_text('[api]\nurl = "http://file/api"\n')
        code = "from prefect.settings import get_current_settings as s; print(s().api.url)"
        done = subprocess.run(
            [program("python"), "-c", code], check=True, capture_output=True, text=True, timeout=60
        )
        api = configured_api()
        assert api is not None
        assert done.stdout.strip() == api.url
