"""Publishing directories: what becomes visible, what is sent, what goes on after a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from prefect_datasets.core.format import keys, parts
from prefect_datasets.core.publish import journal
from prefect_datasets.core.publish.publish import (
    Policy,
    plan_directory,
    publish_directory,
)
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from prefect_datasets.core.versions.verify import verify
from tests.core.published import Told, contents, declare, publish, write_files


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return open_store(f"memory://{tmp_path.name}-{time.monotonic_ns()}")
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_files(tmp_path / "out", {"cats/1.jpg": b"miau", "dogs/1.jpg": b"wau", "a": b""})


# -- what a version is ------------------------------------------------------------------------


def test_a_version_has_a_package_single_objects_and_a_table(store: Store, out: Path) -> None:
    record = publish(out, store, "v1")
    files = {"a": b"", "cats/1.jpg": b"miau", "dogs/1.jpg": b"wau"}
    assert contents(store, record) == files
    rows = parts.read_rows(store, record).to_pylist()
    assert [row["path"] for row in rows] == sorted(files)
    for row in rows:
        assert store.read(row["url"]) == files[row["path"]]
        ranged = store.read_range(row["package"], row["offset"], row["size"])
        assert ranged == files[row["path"]]
        assert zlib.crc32(ranged) == row["crc32"]


def test_the_log_has_the_lines_of_the_reference(store: Store, out: Path) -> None:
    told = Told()
    publish_directory(out, store=store, to=[declare("v1", packaging=True)], progress=told)
    [package] = catalog.find(store, DatasetUri("pets", "v1")).packages
    assert told.notes[:3] == [
        "(dataset version package 1/1) uploading pets.v1.vhpkgzip (299 B)",
        f"(dataset version package 1/1) uploading to {store.kind} bucket {store.bucket}",
        f"(dataset version package 1/1) upload complete (datum {package.datum})",
    ]


def test_the_same_files_give_the_same_packages(tmp_path: Path, out: Path) -> None:
    packages = []
    for name in ("one", "two"):
        store = open_store(str(tmp_path / name))
        [package] = publish(out, store, "v1").packages
        packages.append(store.read(package.key))
    assert packages[0] == packages[1]


def test_metadata_in_the_directory_names_the_versions(store: Store, out: Path) -> None:
    entry = {"uri": "dataset://pets/cats-only", "packaging": True, "targeting_aliases": ["best"]}
    line = {"file": "cats/1.jpg", "metadata": {"valohai.dataset-versions": [entry], "k": 1}}
    (out / "valohai.metadata.jsonl").write_text(json.dumps(line))
    [record] = publish_directory(out, store=store)
    assert contents(store, record) == {"cats/1.jpg": b"miau"}
    assert catalog.find(store, DatasetUri("pets", "best")) == record
    [row] = parts.read_rows(store, record).to_pylist()
    assert json.loads(row["metadata"]) == {"k": 1}
    loose = {info.key for info in store.list(keys.files_prefix(record.execution))}
    assert len(loose) == 3, "files in no version are outputs too"


def test_large_versions_have_several_packages(store: Store, out: Path) -> None:
    policy = Policy(max_package_bytes=4)
    [record] = publish_directory(
        out, store=store, to=[declare("v1", packaging=True)], policy=policy
    )
    names = [package.key.rpartition("/")[2] for package in record.packages]
    assert names == ["pets.v1-1.vhpkgzip", "pets.v1-2.vhpkgzip"]
    assert len(contents(store, record)) == 3


def test_a_file_larger_than_a_piece_is_read_once(store: Store, tmp_path: Path) -> None:
    content = os.urandom(70_000_001)
    root = write_files(tmp_path / "out", {"a": b"1", "big": content, "z": b"2"})
    opened = opened_by(lambda: publish(root, store, "v1"))
    assert [Path(path).name for path in opened if str(root) in path] == ["a", "big", "z"]
    record = catalog.find(store, DatasetUri("pets", "v1"))
    assert contents(store, record) == {"a": b"1", "big": content, "z": b"2"}
    assert verify(record.uri, store=store, deep=True).is_whole


def opened_by(work: object) -> list[str]:
    """Return the paths that `os.open` was asked for while `work()` ran, in order."""
    _OPENED.clear()
    work()  # type: ignore[operator]
    return sorted(_OPENED)


_OPENED: list[str] = []
sys.addaudithook(
    lambda event, args: (
        _OPENED.append(os.fsdecode(args[0]))
        if event == "open" and isinstance(args[0], str | bytes)
        else None
    )
)


def test_packages_alone(store: Store, out: Path) -> None:
    policy = Policy(individual_files=False)
    [record] = publish_directory(
        out, store=store, to=[declare("v1", packaging=True)], policy=policy
    )
    assert not list(store.list(keys.files_prefix(record.execution)))
    rows = parts.read_rows(store, record).to_pylist()
    assert {row["url"] for row in rows} == {None}
    assert len({row["datum"] for row in rows}) == 3


@pytest.mark.parametrize("packaging", [None, False])
def test_packages_alone_without_packages_is_told(
    store: Store, out: Path, packaging: bool | None
) -> None:
    policy = Policy(packaging=packaging, individual_files=False)
    plan = plan_directory(out, store=store, to=[declare("v1")], policy=policy)
    [told] = plan.warnings
    assert "its files are stored one by one" in told


# -- versions made from others ----------------------------------------------------------------


def test_from_inherits_excludes_and_replaces(store: Store, out: Path, tmp_path: Path) -> None:
    first = publish(out, store, "v1")
    new = write_files(tmp_path / "new", {"cats/1.jpg": b"MIAU!", "cats/2.jpg": b"purr"})
    second = publish(new, store, "v2", base=first.uri, exclude=("dogs/*", "cats/1.jpg"))
    assert contents(store, second) == {"a": b"", "cats/1.jpg": b"MIAU!", "cats/2.jpg": b"purr"}
    assert second.parent == "dataset://pets/v1"
    assert verify(second.uri, store=store, deep=True).is_whole


def test_files_that_did_not_change_are_not_sent_again(
    store: Store, out: Path, tmp_path: Path
) -> None:
    first = publish(out, store, "v1")
    datums = {row["path"]: row["datum"] for row in parts.read_rows(store, first).to_pylist()}
    write_files(out, {"new": b"1"})
    second = publish(out, store, "v2", base=DatasetUri("pets", "latest"))
    sent = [info.key for info in store.list(keys.files_prefix(second.execution))]
    assert [key.rpartition("/")[2] for key in sent] == ["new"]
    kept = {row["path"]: row["datum"] for row in parts.read_rows(store, second).to_pylist()}
    assert {path: kept[path] for path in datums} == datums


def test_a_version_without_own_files(store: Store, out: Path, tmp_path: Path) -> None:
    publish(out, store, "v1")
    (tmp_path / "none").mkdir()
    base = DatasetUri("pets", "v1")
    second = publish(tmp_path / "none", store, "v2", base=base, exclude=("a",))
    assert contents(store, second).keys() == {"cats/1.jpg", "dogs/1.jpg"}


def test_long_runs_are_copied_inside_the_store(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    files = {f"f{number:03}": os.urandom(300_000) for number in range(200)}
    root = write_files(tmp_path / "out", files)
    first = publish(root, store, "v1")
    new = write_files(tmp_path / "new", {"f100": b"changed"})
    second = publish(new, store, "v2", base=first.uri)
    assert contents(store, second) == {**files, "f100": b"changed"}


def test_an_exclude_that_matches_nothing_is_warned_about(store: Store, out: Path) -> None:
    publish(out, store, "v1")
    told = Told()
    declared = declare("v2", base=DatasetUri("pets", "v1"), exclude=("no/such",))
    publish_directory(out, store=store, to=[declared], progress=told)
    assert any("no/such" in warning for warning in told.warnings)


# -- packaging policy -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packaging", "switch", "asked", "packaged"),
    [
        (None, None, True, True),
        (None, None, None, False),
        (None, True, True, True),
        (None, True, None, False),
        (None, False, True, False),
        (True, False, None, True),
        (False, True, True, False),
        ("auto", True, True, False),
    ],
)
def test_is_a_version_packaged(
    tmp_path: Path,
    out: Path,
    packaging: bool | None,
    switch: bool | None,
    asked: bool | None,
    packaged: bool,
) -> None:
    policy = Policy(packaging=packaging, switch=switch)
    store = open_store(str(tmp_path / "store"))
    declared = declare("v1", packaging=asked)
    plan = plan_directory(out, store=store, to=[declared], policy=policy)
    assert plan.versions[0].decision.is_packaged is packaged
    refused = asked and switch is False and packaging is None
    told = any("VH_ENABLE_DATASET_VERSION_PACKAGING" in line for line in plan.warnings)
    assert told is bool(refused)


# -- interrupted publishes --------------------------------------------------------------------

_PUBLISH = """
import sys
from pathlib import Path
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.publish.publish import Policy, publish_directory
from prefect_datasets.core.store import open_store
from prefect_datasets.core.uri import DatasetUri
declared = VersionDeclaration(DatasetUri("pets", "v1"), packaging=True)
print("begin", flush=True)
publish_directory(Path(sys.argv[1]), store=open_store(sys.argv[2]), to=[declared],
                  policy=Policy(max_package_bytes=2_000_000))
print("done", flush=True)
"""


def test_a_killed_publish_goes_on_where_it_was(tmp_path: Path) -> None:
    files = {f"d{number % 5}/{number:05}": os.urandom(1500) for number in range(3000)}
    root = write_files(tmp_path / "out", files)
    store = open_store(str(tmp_path / "store"))
    uri = DatasetUri("pets", "v1")
    command = [sys.executable, "-c", _PUBLISH, str(root), str(tmp_path / "store")]
    delay, n_killed = 0.2, 0
    while True:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begin\n"
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                process.kill()
        if catalog.read_record(store, uri) is not None:
            break  # killed or not: a version that is visible is whole
        delay *= 1.2
        n_killed += 1
    assert n_killed
    record = catalog.find(store, uri)
    assert contents(store, record) == files
    assert verify(uri, store=store, deep=True).is_whole
    executions = {row["url"].split("/")[1] for row in parts.read_rows(store, record).to_pylist()}
    assert len(executions) > 1, "what the killed attempts stored is used"
    if process.returncode == 0:  # else it was killed after its commit, which `gc` makes up for
        assert journal.open_attempts(store, uri) == []
