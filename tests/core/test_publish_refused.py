"""What is refused when a directory is published, and who wins of two."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from prefect_datasets.core.errors import (
    AlreadyPublishedError,
    InvalidInputError,
    NotFoundError,
    SourceChangedError,
)
from prefect_datasets.core.format import keys
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.publish.publish import (
    package_version,
    plan_directory,
    publish_directory,
    publish_part,
)
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog, deletion, records
from tests.core.published import contents, declare, publish, write_files


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return open_store(f"memory://{tmp_path.name}-{time.monotonic_ns()}")
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_files(tmp_path / "out", {"cats/1.jpg": b"miau", "dogs/1.jpg": b"wau", "a": b""})


# -- immutability -----------------------------------------------------------------------------


def test_the_same_files_again_change_nothing(store: Store, out: Path) -> None:
    first = publish(out, store, "v1")
    before = sorted(info.key for info in store.list("outputs/"))
    assert publish(out, store, "v1") == first
    after = sorted(info.key for info in store.list("outputs/"))
    assert [key for key in after if key not in before and "execution.json" not in key] == []


def test_other_files_under_the_same_name_are_refused_before_anything_is_sent(
    store: Store, out: Path
) -> None:
    publish(out, store, "v1")
    before = sorted(info.key for info in store.list(""))
    (out / "a").write_bytes(b"other")
    with pytest.raises(AlreadyPublishedError, match="publish under a new version name"):
        publish(out, store, "v1")
    (out / "a").write_bytes(b"")
    (out / "cats/1.jpg").write_bytes(b"MIAU")  # the same size
    with pytest.raises(AlreadyPublishedError, match="dataset://pets/v1"):
        publish(out, store, "v1")
    assert sorted(info.key for info in store.list("")) == before


def test_packages_that_are_asked_for_later_are_added(store: Store, out: Path) -> None:
    [plain] = publish_directory(out, store=store, to=[declare("v1")])
    assert not plain.is_packaged
    record_before = store.read(keys.record_key(plain.uri))
    packaged = publish(out, store, "v1")
    assert contents(store, packaged).keys() == {"a", "cats/1.jpg", "dogs/1.jpg"}
    assert store.read(keys.record_key(plain.uri)) == record_before
    assert package_version(plain.uri, store=store).packages == packaged.packages


def test_a_deleted_name_comes_back_only_with_the_same_files(store: Store, out: Path) -> None:
    record = publish(out, store, "v1")
    deletion.delete(store, deletion.plan_delete(store, record.uri))
    with pytest.raises(NotFoundError):
        catalog.find(store, record.uri)
    write_files(out, {"new": b"1"})
    with pytest.raises(AlreadyPublishedError, match="deleted"):
        publish(out, store, "v1")
    (out / "new").unlink()
    assert publish(out, store, "v1").digest == record.digest


def test_two_that_publish_at_once_one_wins(store: Store, tmp_path: Path) -> None:
    results: list[object] = []

    def attempt(number: int) -> None:
        root = write_files(tmp_path / str(number), {"f": str(number).encode()})
        try:
            results.append(publish(root, store, "v1"))
        except AlreadyPublishedError as error:
            results.append(error)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [result for result in results if isinstance(result, VersionRecord)]
    assert len(won) == 1
    assert len(results) == 6
    assert catalog.find(store, DatasetUri("pets", "v1")) == won[0]


# -- bad input --------------------------------------------------------------------------------


def test_no_files_are_no_version(store: Store, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(InvalidInputError, match="would have no files"):
        publish(tmp_path / "none", store, "v1")


def test_a_base_that_is_not_there(store: Store, out: Path) -> None:
    with pytest.raises(NotFoundError, match="dataset://pets/v0"):
        publish(out, store, "v1", base=DatasetUri("pets", "v0"))
    assert not list(store.list(""))


def test_a_file_where_the_base_has_a_folder(store: Store, out: Path, tmp_path: Path) -> None:
    publish(out, store, "v1")
    new = write_files(tmp_path / "new", {"cats": b"a file", "a/b": b"below a file"})
    with pytest.raises(InvalidInputError, match=r"both a file and a folder: 'a'.*'cats'"):
        publish(new, store, "v2", base=DatasetUri("pets", "v1"))


def test_an_alias_can_not_become_a_version_nor_the_other_way(store: Store, out: Path) -> None:
    publish(out, store, "v1", aliases=("best",))
    with pytest.raises(InvalidInputError, match="is an alias"):
        publish(out, store, "best")
    with pytest.raises(InvalidInputError, match="is a version"):
        publish(out, store, "v2", aliases=("v1",))


def test_an_alias_of_a_deleted_version_names_both(store: Store, out: Path) -> None:
    record = publish(out, store, "v1", aliases=("best",))
    deletion.delete(store, deletion.plan_delete(store, record.uri))
    with pytest.raises(NotFoundError, match=r"'best' stands for version 'v1', which was deleted"):
        catalog.find(store, DatasetUri("pets", "best"))


@pytest.mark.parametrize("change", ["grow", "vanish", "replace"])
def test_a_file_that_changes_while_it_is_published(store: Store, out: Path, change: str) -> None:
    plan = plan_directory(out, store=store, to=[declare("v1", packaging=True)])
    victim = out / "dogs/1.jpg"
    if change == "grow":
        victim.write_bytes(b"wau wau")
    elif change == "vanish":
        victim.unlink()
    else:
        os.utime(victim, ns=(1, 1))
    with pytest.raises(SourceChangedError, match=r"dogs/1\.jpg"):
        publish_part(plan.versions[0].parts[0], store=store)
    assert records.list_datasets(store) == []
    assert not [info for info in store.list("outputs/") if "packages" in info.key]
