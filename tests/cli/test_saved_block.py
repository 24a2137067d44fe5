"""A saved block where no Prefect API is configured: found in its database, without a server."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.environment import clean_environment
from tests.servers.process import program

pytestmark = pytest.mark.slow  # imports Prefect for each command

V1 = "dataset://pets/v1"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the block `shelf`; its Prefect home lies beside it."""
    folder = tmp_path_factory.mktemp("saved")
    # Prefect starts a server for this, and ends it.
    _python(
        "from prefect_datasets import DatasetStore; import sys; "
        "DatasetStore(url=sys.argv[1], packaging='on', secrets={'key': 'hush'}).save('shelf')",
        folder / "store",
        home=folder,
    )
    return folder / "store"


@pytest.fixture
def saved(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with its Prefect home for the commands of the test."""
    monkeypatch.setenv("PREFECT_HOME", str(shelf.parent / "prefect"))
    return shelf


def _python(code: str, *arguments: object, home: Path) -> str:
    done = subprocess.run(
        [program("python"), "-c", code, *map(str, arguments)],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)  # the first one waits for Prefect's server
def test_a_saved_block_is_a_store(spawn: Run, saved: Path, pets: Path) -> None:
    done = spawn("publish", pets, "--to", V1, "--store", "shelf")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(", 1 package\n"), "the block packages"
    assert (saved / "datasets/pets/v1.json").is_file()


@pytest.mark.timeout(300)
def test_its_secrets_come_with_it(shelf: Path) -> None:
    code = (
        "from prefect_datasets.cli.prefect_database import saved_store; import json; "
        "print(json.dumps(saved_store('shelf')))"
    )
    block: dict[str, Any] = json.loads(_python(code, home=shelf.parent))
    assert (block["url"], block["secrets"]) == (str(shelf), {"key": "hush"})


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("saved")
def test_another_name_is_not_found(spawn: Run) -> None:
    _expect_not_found(spawn("list", "--store", "shelf-2"), "shelf-2")


def test_several_at_once_each_say_one_line(spawn: Run, environment: dict[str, str]) -> None:
    home = Path(environment["PREFECT_HOME"])
    home.mkdir(parents=True)
    with ThreadPoolExecutor() as threads:
        all_done = [threads.submit(spawn, "list", "--store", "nobody") for _ in range(4)]
    for done in all_done:
        _expect_not_found(done.result(), "nobody")
    assert not list(home.iterdir()), "no database was made"


def _expect_not_found(done: Any, name: str) -> None:
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("prefect-datasets: No saved block DatasetStore has the name: ")
    assert name in done.err
    assert done.err.count("\n") == 1, done.err


@pytest.mark.parametrize("content", ["", "no database" * 1000], ids=["empty", "damaged"])
def test_a_database_that_cannot_be_read(
    spawn: Run, environment: dict[str, str], content: str
) -> None:
    database = Path(environment["PREFECT_HOME"]) / "prefect.db"
    database.parent.mkdir(parents=True)
    database.write_text(content)
    done = spawn("list", "--store", "shelf")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1), done.err
    assert str(database) in done.err
