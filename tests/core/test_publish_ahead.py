"""A publish lets another process list its files while it loads its modules."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.metadata.scan import METADATA_FILE, scan
from prefect_datasets.core.publish import ahead, pack
from prefect_datasets.core.publish.ahead import Ahead, started_ahead
from prefect_datasets.core.publish.plan import plan_directory
from prefect_datasets.core.publish.plan_version import Policy
from prefect_datasets.core.publish.publish import publish_plan
from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri

pytestmark = pytest.mark.usefixtures("two_processors")


@pytest.fixture
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "n_processors", lambda: 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with all that a walk tells of."""
    root = tmp_path / "out"
    for name in ("a/1", "a/ü/2", "b", "B", METADATA_FILE):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "link").symlink_to("b")
    return root


def children() -> list[int]:
    """Return the processes that this one has started."""
    return [*map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())]


def test_the_list_is_that_of_a_scan(root: Path) -> None:
    before = children()
    with Ahead(root) as begun:
        walked = begun.walked()
        assert walked is not None
        found, expected = scan(root, walked), scan(root)
        assert found == expected
        assert (found.listing.num_rows, found.metadata_paths) == (5, (METADATA_FILE,))
        assert found.warnings
    assert children() == before


def test_names_that_are_refused_are_named(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with Ahead(root) as begun, pytest.raises(InvalidInputError, match="pipe"):
        scan(root, begun.walked())


def test_a_killed_process_is_done_without(root: Path) -> None:
    before = {*children()}
    with Ahead(root) as begun:
        [pid] = {*children()} - before
        os.kill(pid, signal.SIGKILL)
        assert begun.walked() is None
        assert started_ahead(1) is None


def test_the_process_packs_what_it_listed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "_LEAST_FILES", 1)
    (root / METADATA_FILE).unlink()
    store = open_store(str(tmp_path / "store"))
    policy = Policy(packaging=True, individual_files=False)
    declared = VersionDeclaration(DatasetUri("pets", "v1"))
    with Ahead(root) as begun:
        plan = plan_directory(
            root, store=store, to=[declared], policy=policy, walked=begun.walked()
        )
        assert started_ahead(1) is not None
        assert started_ahead(1 << 40) is None
        [record] = publish_plan(plan, store=store)
    assert started_ahead(1) is None
    assert record.n_files == 5


def test_without_a_second_processor_nothing_is_started(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "n_processors", lambda: 1)
    before = children()
    with Ahead(root) as begun:
        assert children() == before
        assert begun.walked() is None
