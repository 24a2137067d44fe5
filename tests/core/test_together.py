"""New files that lie scattered in a package are stored together once more."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.errors import SourceChangedError
from prefect_datasets.core.format import parts
from prefect_datasets.core.format.keys import together_key
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.progress import NoProgress
from prefect_datasets.core.publish import publish as engine
from prefect_datasets.core.publish.plan_version import Policy
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.resolve.resolve import Tree, resolve_version
from prefect_datasets.core.store.local import LocalStore
from prefect_datasets.core.versions.deletion import delete, plan_delete
from prefect_datasets.core.versions.garbage import collect, plan_garbage
from prefect_datasets.core.versions.verify import verify
from tests.core.published import contents, declare, publish, uri, write_files
from tests.core.trees import CountingStore, files_of, overwrite

N = 40
# Further apart than is worth reading over.
LARGE = {f"d/{number:02}.large": bytes([number]) * 100_000 for number in range(N)}
OLD = LARGE | {f"d/{number:02}.small": b"old %d" % number for number in range(N)}
NEW = LARGE | {f"d/{number:02}.small": b"new! %d" % number for number in range(N)}
FAR = CostModel()
PACKED = Policy(individual_files=False)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    (tmp_path / "store").mkdir()
    return CountingStore(tmp_path / "store", tmp_path / "reads")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture(params=["base", "newest", "packages alone"])
def v2(request: pytest.FixtureRequest, store: CountingStore, tmp_path: Path) -> VersionRecord:
    """v2, whose small files are new: by its base, or by the dataset's newest version."""
    policy = PACKED if request.param == "packages alone" else None
    base = uri("v1") if request.param == "base" else None
    publish(write_files(tmp_path / "old", OLD), store, "v1", policy=policy)
    return publish(write_files(tmp_path / "new", NEW), store, "v2", policy=policy, base=base)


def get(store: LocalStore, cache: Cache, name: str) -> Tree:
    return resolve_version(uri(name), store=store, cache=cache, cost=FAR)


def key_of(record: VersionRecord) -> str:
    [package] = record.packages
    return together_key(package.key)


def test_they_are_a_plain_zip_beside_the_package(store: CountingStore, v2: VersionRecord) -> None:
    with zipfile.ZipFile(io.BytesIO(store.read(key_of(v2)))) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {path: NEW[path] for path in sorted(NEW) if path.endswith(".small")}
    assert contents(store, v2) == NEW, "the package has all files all the same"


def test_who_has_the_last_version_reads_them_at_once(
    store: CountingStore, cache: Cache, v2: VersionRecord
) -> None:
    get(store, cache, "v1")
    before = len(store.reads())
    tree = get(store, cache, "v2")
    assert files_of(tree.path) == NEW
    reads = [read.key for read in store.reads()[before:] if not read.key.endswith(".parquet")]
    assert reads == [key_of(v2)]
    assert tree.n_linked_files == N


def test_who_has_nothing_reads_the_package(
    store: CountingStore, cache: Cache, v2: VersionRecord
) -> None:
    assert files_of(get(store, cache, "v2").path) == NEW
    keys = {read.key for read in store.reads() if not read.key.endswith(".parquet")}
    assert keys == {v2.packages[0].key}


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_what_is_wrong_with_them_is_read_from_the_package(
    store: CountingStore, cache: Cache, v2: VersionRecord, harm: str
) -> None:
    get(store, cache, "v1")
    if harm == "gone":
        store.delete([key_of(v2)])
    else:
        overwrite(store, key_of(v2), 0, b"\1" * 2000)
    assert files_of(get(store, cache, "v2").path) == NEW


@pytest.mark.parametrize("deep", [False, True])
def test_verify_reads_and_repairs_them(store: CountingStore, v2: VersionRecord, deep: bool) -> None:
    key = key_of(v2)
    whole = store.read(key)
    if deep:
        overwrite(store, key, 60, b"\1\1")
    else:
        store.delete([key])
    assert {fault.key for fault in verify(v2.uri, store=store, deep=deep).faults} == {key}
    assert verify(v2.uri, store=store, deep=deep, repair=True).repaired == (key,)
    assert store.read(key) == whole
    assert verify(v2.uri, store=store, deep=True).faults == ()


def test_a_package_is_mended_from_them_where_it_can_be(
    store: CountingStore, tmp_path: Path, cache: Cache
) -> None:
    publish(write_files(tmp_path / "old", OLD), store, "v1")
    record = publish(write_files(tmp_path / "new", NEW), store, "v2")
    [package] = record.packages
    whole = store.read(package.key)
    rows = parts.read_part(store, record.parts[0]).to_pylist()
    small = next(row for row in rows if row["path"].endswith(".small"))
    overwrite(store, package.key, small["offset"], b"#")
    store.delete([small["url"]])
    assert package.key in verify(record.uri, store=store, deep=True, repair=True).repaired
    assert store.read(package.key) == whole
    assert files_of(get(store, cache, "v2").path) == NEW


def test_they_are_garbage_when_their_version_is_gone(
    store: CountingStore, v2: VersionRecord
) -> None:
    far_future = 4e9
    collect(store, plan_garbage(store, now=far_future))
    assert verify(v2.uri, store=store, deep=True).is_whole
    delete(store, plan_delete(store, v2.uri))
    collect(store, plan_garbage(store, now=far_future))
    assert store.info(key_of(v2)) is None


def test_many_new_files_are_not_stored_twice(store: CountingStore, tmp_path: Path) -> None:
    publish(write_files(tmp_path / "old", OLD), store, "v1")
    other = {path: data[::-1] + b"!" for path, data in OLD.items()}
    record = publish(write_files(tmp_path / "new", other), store, "v2")
    assert store.info(key_of(record)) is None


def test_neighbours_are_read_at_once_anyway(store: CountingStore, tmp_path: Path) -> None:
    publish(write_files(tmp_path / "old", OLD), store, "v1")
    more = OLD | {f"e/{number}": b"new %d" % number for number in range(N)}
    record = publish(write_files(tmp_path / "new", more), store, "v2")
    assert store.info(key_of(record)) is None


def test_renamed_files_are_not_new(store: CountingStore, tmp_path: Path) -> None:
    publish(write_files(tmp_path / "old", OLD), store, "v1")
    moved = LARGE | {path.replace("small", "tiny"): data for path, data in OLD.items()}
    record = publish(write_files(tmp_path / "new", moved | LARGE), store, "v2")
    assert store.info(key_of(record)) is None


def test_a_file_that_changes_meanwhile_is_named(store: CountingStore, tmp_path: Path) -> None:
    publish(write_files(tmp_path / "old", OLD), store, "v1")
    root = write_files(tmp_path / "new", NEW)
    plan = engine.plan_directory(root, store=store, to=[declare("v2", packaging=True)])
    [version] = plan.versions

    class Changing(NoProgress):
        def note(self, message: str) -> None:
            """Change a file once the package is under way."""

        def advance(self, *, n_files: int = 0, n_bytes: int = 0) -> None:
            (root / "d/03.small").write_bytes(b"other")

    with pytest.raises(SourceChangedError, match="changed while it was published"):
        engine.publish_part(version.parts[0], store=store, progress=Changing())


def test_a_base_of_a_million_files_is_no_reference(tmp_path: Path, store: CountingStore) -> None:
    publish(write_files(tmp_path / "old", OLD), store, "v1")
    root = write_files(tmp_path / "new", NEW)
    plan = engine.plan_directory(root, store=store, to=[declare("v2", packaging=True)])
    [version] = plan.versions
    [part] = version.parts
    assert len(np.frombuffer(part.reference, np.uint64)) == len(OLD)
    done = engine.publish_part(replace(part, reference=b""), store=store)
    assert done.package is not None
    assert store.info(together_key(done.package.key)) is None
