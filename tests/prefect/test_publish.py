"""Publishing from flows: what is made, and what is shown."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.schemas.objects import State

from prefect_datasets import DatasetStore, DatasetVersion, outputs, publish_outputs, write_metadata
from prefect_datasets.core.errors import AlreadyPublishedError, InvalidMetadataError
from prefect_datasets.flows import spread
from tests.prefect import observe
from tests.prefect.published import draw_images, prepare


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store of the test's own."""
    return str(tmp_path / "store")


def test_a_flow_publishes_a_packaged_version(store: str) -> None:
    _, (version,) = prepare("train-v1", store)
    assert isinstance(version, DatasetVersion)
    assert (version.uri, version.n_files, version.n_bytes) == (
        "dataset://my-images/train-v1",
        4,
        406,
    )
    (package,) = version.packages
    with zipfile.ZipFile(Path(store) / package.key) as archive:
        assert archive.namelist() == ["cats/0.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/3.jpg"]


def test_each_part_is_a_task_run_and_the_order_does_not_matter(store: str) -> None:
    run, (version,) = prepare("v1", store, max_package_bytes=210)
    assert len(version.packages) == 2

    expected = {
        "declare dataset://my-images/v1",
        "package dataset://my-images/v1 1/2",
        "package dataset://my-images/v1 2/2",
        "commit dataset://my-images/v1",
    }
    # A task run has a name of Prefect's own until its first events were taken in.
    assert observe.eventually(
        lambda: {each.name for each in observe.task_runs(UUID(run))} == expected
    )


def test_the_log_has_the_three_lines_of_each_package(store: str) -> None:
    run, (version,) = prepare("train-v1", store)
    (package,) = version.packages

    def lines() -> list[str] | None:
        found = [line for line in observe.logs(UUID(run)) if line.startswith("(dataset")]
        return found if len(found) == 3 else None

    size = f"{package.n_bytes} B"
    first, second, third = observe.eventually(lines)
    said = "(dataset version package 1/1)"
    assert first.startswith(f"{said} uploading my-images.train-v1.vhpkgzip (")
    assert size in first or "kB" in first
    assert second.startswith(f"{said} uploading to file bucket")
    assert third == f"{said} upload complete (datum {package.datum})"


def test_the_ui_shows_a_summary_and_a_table_of_packages(store: str) -> None:
    run, (version,) = prepare("train-v1", store, max_package_bytes=210)
    summary = observe.artifact(UUID(run), kind="markdown")
    table = observe.artifact(UUID(run), kind="table")
    assert summary is not None
    assert table is not None
    assert summary.key == "dataset-my-images"
    assert summary.description == "dataset://my-images/train-v1: 4 files, 406 B"
    for part in (version.uri, version.digest, "resolve_inputs", "my-images.train-v1-1.vhpkgzip"):
        assert part in str(summary.data)
    assert [row["files"] for row in observe.rows(table)] == [2, 2]
    assert [row["datum"] for row in observe.rows(table)] == [p.datum for p in version.packages]


def test_an_event_tells_of_the_version(store: str) -> None:
    _, (version,) = prepare("told", store)
    (event,) = observe.told("dataset://my-images/told", "prefect-datasets.version.created")
    assert event["payload"]["uri"] == version.uri
    assert event["payload"]["files"] == 4


def test_the_store_knows_the_run(store: str) -> None:
    run, _ = prepare("v1", store)
    (file,) = Path(store).glob("outputs/*/execution.json")
    body = json.loads(file.read_text())
    assert body["flow_run"]["id"] == run
    assert body["parameters"]["version"] == "v1"


def test_a_version_without_packages_and_files_in_no_version(store: str) -> None:
    @flow
    def writes() -> list[DatasetVersion]:
        with outputs() as out:
            draw_images(out)
            (out / "report.txt").write_text("all is well")
            write_metadata(out, "dataset://my-images/v1", files="cats/*")
            return publish_outputs(out, store=store)

    (version,) = writes()
    assert (version.n_files, version.packages) == (2, ())
    stored = {file.name for file in Path(store).glob("outputs/*/files/**/*") if file.is_file()}
    assert stored == {"0.jpg", "1.jpg", "2.jpg", "3.jpg", "report.txt"}


def test_packages_alone(store: str) -> None:
    _, (version,) = prepare("v1", store, individual_files=False)
    assert len(version.packages) == 1
    assert not list(Path(store).glob("outputs/*/files"))


def test_publishing_again_changes_nothing_and_tells_nobody(store: str) -> None:
    _, (first,) = prepare("again", store)
    run, (second,) = prepare("again", store)
    assert second == first
    assert observe.artifact(UUID(run), kind="markdown") is None


def test_other_files_under_the_same_name_fail_in_one_line(store: str) -> None:
    prepare("v1", store)
    state: State[Any] = prepare("v1", store, n_files=6, return_state=True)  # pyright: ignore[reportAssignmentType]
    assert state.message is not None
    assert "AlreadyPublishedError: The version exists with other files" in state.message
    assert "dataset://my-images/v1" in state.message
    assert "new version name" in state.message
    with pytest.raises(AlreadyPublishedError):
        state.result()


def test_faulty_metadata_is_told_whole_before_anything_is_stored(store: str) -> None:
    @flow
    def writes() -> None:
        with outputs() as out:
            draw_images(out)
            lines = ['{"file": "gone.jpg"', '{"file": "gone.jpg", "metadata": {}}']
            (out / "valohai.metadata.jsonl").write_text("\n".join(lines))
            publish_outputs(out, store=store)

    with pytest.raises(InvalidMetadataError) as caught:
        writes()
    assert len(caught.value.faults) == 2
    assert not list(Path(store).glob("**/*.jpg"))


def test_switched_off_is_said_with_the_variable(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VH_ENABLE_DATASET_VERSION_PACKAGING", "no")
    run, (version,) = prepare("v1", store)
    assert version.packages == ()
    observe.eventually(
        lambda: any(
            "VH_ENABLE_DATASET_VERSION_PACKAGING" in line for line in observe.logs(UUID(run))
        )
    )


def test_a_saved_block_is_named_in_the_summary(tmp_path: Path) -> None:
    DatasetStore(url=str(tmp_path / "mine")).save("team")
    run, _ = prepare("v1", "team")
    summary = observe.artifact(UUID(run), kind="markdown")
    assert summary is not None
    assert 'store="team"' in str(summary.data)


@pytest.mark.parametrize(
    ("n_parts", "lengths"), [(0, []), (1, [1]), (3, [1, 1, 1]), (7, [3, 3, 1])]
)
def test_there_are_never_too_many_task_runs(n_parts: int, lengths: list[int]) -> None:
    found = spread.batches(range(n_parts), most=3)  # pyright: ignore[reportArgumentType]
    assert [len(batch) for batch in found] == lengths
