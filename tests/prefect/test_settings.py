"""What the environment says, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import prefect_datasets
from prefect_datasets.settings import Settings, parse_switch

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("text", ["1", "yes", "true", "TRUE", "Yes", " true "])
def test_the_packaging_variable_is_on(text: str) -> None:
    assert parse_switch(text) is True


@pytest.mark.parametrize("text", ["0", "no", "false", "", "on", "2", "enabled"])
def test_the_packaging_variable_is_off(text: str) -> None:
    assert parse_switch(text) is False


def test_the_packaging_variable_may_not_be_set() -> None:
    assert parse_switch(None) is None
    assert Settings.read({}).packaging_switch is None


def test_defaults_lie_below_the_prefect_home() -> None:
    settings = Settings.read({"PREFECT_HOME": "/p"})
    assert settings.store_url == "/p/datasets/store"
    assert settings.cache == Path("/p/datasets/cache")
    assert settings.runs == Path("/p/datasets/runs")
    assert Settings.read({}).home == Path.home() / ".prefect" / "datasets"


def test_variables_win() -> None:
    settings = Settings.read(
        {"PREFECT_DATASETS_STORE": "s3://b/p", "PREFECT_DATASETS_CACHE": "~/cache"}
    )
    assert settings.store_url == "s3://b/p"
    assert settings.cache == Path.home() / "cache"


def test_the_version_is_the_distributions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert prefect_datasets.__version__ == project["version"]


def test_every_public_name_is_there() -> None:
    for name in prefect_datasets.__all__:
        assert getattr(prefect_datasets, name) is not None
    assert set(prefect_datasets.__all__) <= set(dir(prefect_datasets))
    with pytest.raises(AttributeError, match="nothing"):
        _ = prefect_datasets.nothing  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import prefect_datasets", {"prefect", "pydantic", "pyarrow", "numpy", "fsspec"}),
        (
            "import prefect_datasets.settings, prefect_datasets.core.cache.cache",
            {"prefect", "pydantic", "pyarrow", "numpy", "fsspec", "obstore"},
        ),
        ("import prefect_datasets.core.resolve.resolve", {"prefect", "pyarrow", "numpy", "fsspec"}),
        # Every Prefect server and worker imports the blocks when it starts.
        ("import prefect_datasets.blocks", {"pyarrow", "s3fs", "gcsfs", "obstore"}),
    ],
)
def test_importing_costs_nothing_that_is_not_used(code: str, absent: set[str]) -> None:
    ask = f"{code}; import sys; print(*(sys.modules.keys() & {absent!r}))"
    found = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split() == []
