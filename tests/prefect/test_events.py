"""Events: what happened to versions and aliases, as the server's feed and automations get it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect import flow
from prefect.runtime import flow_run

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions.aliases import set_alias
from prefect_datasets.core.versions.deletion import delete, plan_delete
from prefect_datasets.core.versions.verify import verify
from prefect_datasets.flows.package_version import package_version_flow
from prefect_datasets.flows.publish import PublishOptions, publish_directory
from prefect_datasets.tasks.events import (
    announce_alias,
    announce_deletion,
    announce_failed_verification,
)
from tests.core.published import publish as publish_without_prefect
from tests.prefect import observe

if TYPE_CHECKING:
    from prefect_datasets.core.store import Store


@pytest.fixture
def block(tmp_path: Path) -> DatasetStore:
    """A store of the test's own, in a block as a form gives it."""
    return DatasetStore(url=str(tmp_path / "store"))


@pytest.fixture
def store(block: DatasetStore) -> Store:
    """The same, opened."""
    return block.open()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with three files."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"{number}" * 10)
    return folder


def told(resource: str, event: str) -> list[dict[str, Any]]:
    """Return the events of a kind about a resource, once there is one."""
    return observe.told(resource, f"prefect-datasets.{event}")


def publish(block: DatasetStore, files: Path, dataset: str, version: str, **options: Any) -> None:
    """Publish the files by the flow that is deployed."""
    chosen = PublishOptions(**options)
    publish_directory(block, str(files), dataset=dataset, version=version, options=chosen)


def test_a_moved_alias_tells_from_where_to_where(block: DatasetStore, files: Path) -> None:
    publish(block, files, "moved", "v1", aliases=["best"])
    (files / "3.txt").write_text("new")
    publish(block, files, "moved", "v2", aliases=["best"], base="dataset://moved/v1")
    publish(block, files, "moved", "v2", aliases=["best"])  # does nothing, and tells nothing
    publish(block, files, "moved", "v3", aliases=["other"])
    told("dataset://moved/other", "alias.moved")
    moves = told("dataset://moved/best", "alias.moved")
    said = [(each["payload"]["previous"], each["payload"]["uri"]) for each in moves]
    assert sorted(said) == [("", "dataset://moved/v1"), ("v1", "dataset://moved/v2")]
    related = {each["prefect.resource.role"]: each for each in moves[0]["related"]}
    assert related["version"]["prefect.resource.id"] == moves[0]["payload"]["uri"]
    (created,) = told("dataset://moved/v2", "version.created")
    assert created["payload"]["aliases"] == ["best"]
    assert created["payload"]["parent"] == "dataset://moved/v1"


def test_a_deleted_version_tells_what_it_was(
    block: DatasetStore, store: Store, files: Path
) -> None:
    publish(block, files, "gone", "v1", aliases=["best"])

    @flow
    def deletes() -> None:
        planned = plan_delete(store, DatasetUri("gone", "v1"))
        delete(store, planned)
        announce_deletion(planned)
        announce_deletion(planned)  # as a run does that is tried again

    deletes()
    (event,) = told("dataset://gone/v1", "version.deleted")
    assert event["payload"]["files"] == 3
    assert event["payload"]["aliases"] == ["best"]


def test_a_failed_verification_tells_what_is_wrong(
    block: DatasetStore, store: Store, files: Path
) -> None:
    publish(block, files, "torn", "v1")
    next(Path(block.url).glob("outputs/*/files/1.txt")).unlink()

    @flow
    def looks() -> str:
        announce_failed_verification(verify(DatasetUri("torn", "v1"), store=store), deep=False)
        return flow_run.id

    run = looks()
    (event,) = told("dataset://torn/v1", "verification.failed")
    (fault,) = event["payload"]["first_faults"]
    assert (fault["path"], fault["problem"]) == ("1.txt", "the object is gone")
    assert event["payload"]["faults"] == 1
    assert f"prefect.flow-run.{run}" in {each["prefect.resource.id"] for each in event["related"]}


def test_outside_a_run_nothing_is_told(store: Store, block: DatasetStore, files: Path) -> None:
    publish(block, files, "silent", "v1")
    uri = DatasetUri("silent", "v1")
    set_alias(store, uri, "best")
    announce_alias(uri, "best")
    publish(block, files, "silent", "v2", aliases=["heard"])
    told("dataset://silent/heard", "alias.moved")
    assert observe.events("dataset://silent/best") == []


def test_packages_that_are_made_later_make_no_new_version(
    block: DatasetStore, store: Store, files: Path
) -> None:
    publish_without_prefect(files, store, "unannounced", packaging=False)
    package_version_flow(block, "dataset://pets/unannounced")
    publish(block, files, "pets", "announced")
    told("dataset://pets/announced", "version.created")
    names = {event["event"] for event in observe.events("dataset://pets/unannounced")}
    assert "prefect-datasets.version.created" not in names
