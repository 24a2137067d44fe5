"""The command line run in this process and in its own, on stores that tests make."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.cli import main
from tests.environment import clean_environment
from tests.servers.process import Served


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A home of the test's own, and no Prefect API."""
    wanted = clean_environment(tmp_path / "home")
    for name in set(os.environ) - set(wanted):
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return wanted


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process."""

    def run_here(*arguments: object) -> Done:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Done(code, str(out), str(err))

    return run_here


@pytest.fixture
def spawn(tmp_path: Path) -> Run:
    """Run the installed program, as a shell does."""

    def run_there(*arguments: object, env: Mapping[str, str] | None = None) -> Done:
        done = subprocess.run(
            ["prefect-datasets", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run_there


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder with six small files."""
    root = tmp_path / "pets"
    for name in ("cats/1", "cats/2", "cats/deep/3", "dogs/1", "dogs/2", "größe"):
        path = root / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"I am {name}\n", encoding="utf-8")
    return root


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty store; credentials and address of the S3 server are in the environment."""
    if request.param == "local":
        return str(tmp_path / "store")
    served: Served = request.getfixturevalue("seaweedfs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", str(served.options["endpoint_url"]))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(served.options["key"]))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(served.options["secret"]))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return f"{served.url}/{tmp_path.name}"
