"""Where trees lie, and which of them can be used."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from prefect_datasets.core.cache import check, leases
from prefect_datasets.core.cache.attempt import Attempt, clear_wreck
from prefect_datasets.core.cache.cache import VERSIONS, Cache, Entry, Ready, Selection
from prefect_datasets.core.cache.prune import condemn, plan_clear, plan_prune, survey
from prefect_datasets.core.errors import UnsupportedFormatError
from prefect_datasets.core.progress import NoProgress
from prefect_datasets.core.store_spec import StoreSpec, identity
from prefect_datasets.core.uri import DatasetUri
from tests.core.cached import DIGEST, URI, fill
from tests.core.published import Told


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


# -- places -----------------------------------------------------------------------------------


def test_a_selection_has_a_place_of_its_own(cache: Cache) -> None:
    names = [
        cache.version(URI, DIGEST, selection).name
        for selection in (
            Selection(),
            Selection(include=("a",)),
            Selection(include=("a", "b")),
            Selection(shard=(0, 2)),
            Selection(shard=(1, 2)),
        )
    ]
    assert names[0] == "v1-0123456789abcdef"
    assert len(set(names)) == len(names)


def test_selections_that_mean_the_same_share_a_place(cache: Cache) -> None:
    def name(selection: Selection) -> str:
        return cache.version(URI, DIGEST, selection).name

    assert name(Selection(shard=(0, 1))) == name(Selection())
    assert name(Selection(include=("a", "b", "a"))) == name(Selection(include=("b", "a")))


def test_the_longest_names_fit_a_file_name(cache: Cache) -> None:
    uri = DatasetUri("d", "v" * 229)
    assert len(cache.version(uri, DIGEST, Selection(include=("x",))).name) <= 255


def test_a_pointer_holds_for_its_store_and_stamp(cache: Cache) -> None:
    cache.point("one", URI, DIGEST, stamp="s")
    assert cache.digest_of("one", URI, stamp="s") == DIGEST
    assert cache.digest_of("one", URI, stamp="t") is None
    assert cache.digest_of("two", URI, stamp="s") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (StoreSpec("s3://b/x"), StoreSpec("s3://b/y")),
        (StoreSpec("s3://b"), StoreSpec("s3://b", {"endpoint_url": "http://127.0.0.1:1"})),
        (
            StoreSpec("s3://b", {"client_kwargs": {"endpoint_url": "http://127.0.0.1:2"}}),
            StoreSpec("s3://b", {"client_kwargs": {"endpoint_url": "http://127.0.0.1:1"}}),
        ),
        (StoreSpec("s3://b", {"profile": "a"}), StoreSpec("s3://b", {"profile": "b"})),
        (StoreSpec("s3://b"), StoreSpec("gs://b")),
    ],
)
def test_different_stores_have_different_names(one: StoreSpec, other: StoreSpec) -> None:
    assert identity(one) != identity(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (StoreSpec("s3://b/x/"), StoreSpec("s3://b/x", {"secret": "s"})),
        (StoreSpec("s3://b", {"key": "k"}), StoreSpec("s3a://b", {"key": "l"})),
        (StoreSpec("/tmp/x"), StoreSpec("file:///tmp/x/")),
    ],
)
def test_the_same_store_has_one_name(one: StoreSpec, other: StoreSpec) -> None:
    assert identity(one) == identity(other)


def test_an_open_store_has_the_name_of_its_spec(tmp_path: Path) -> None:
    spec = StoreSpec(str(tmp_path))
    assert identity(spec.open()) == identity(spec)


def test_a_store_of_the_environment_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(StoreSpec("s3://b"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert identity(StoreSpec("s3://b")) != before


# -- use --------------------------------------------------------------------------------------


def test_use_finds_only_what_is_complete(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"})
    assert cache.use(entry) is not None
    entry.ready.unlink()
    assert cache.use(entry) is None
    assert cache.use(Entry(cache.root, VERSIONS, "pets", "other")) is None


def test_a_tree_of_a_newer_release_is_refused_and_never_deleted(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"}, used=1.0)
    entry.ready.write_text(json.dumps({"format": 2, "what": "who knows"}))
    with pytest.raises(UnsupportedFormatError, match="newer release"):
        cache.use(entry)
    clear_wreck(cache, entry)
    assert condemn(cache, entry) is None
    found = survey(cache)
    for plan in (plan_clear(found), plan_prune(found, now=time.time(), max_bytes=0)):
        assert [why for _, why in plan.keeps] == ["made by a newer release"]
        assert plan.frees == ()
    said = Told()
    assert check.verify(cache, repair=True, progress=said) == []
    assert str(entry.folder) in said.warnings[0]
    assert (entry.files / "a").read_bytes() == b"1"


def test_an_attempt_gives_way_to_a_tree_of_a_newer_release(cache: Cache) -> None:
    attempt = Attempt(cache, Entry(cache.root, VERSIONS, "pets", "v1-x"))
    entry = fill(cache, "v1-x", {"a": b"1"})
    entry.ready.write_text(json.dumps({"format": 2}))
    assert not attempt.publish(Ready("u", DIGEST, 0, 0))
    assert (entry.files / "a").read_bytes() == b"1"


def test_use_moves_a_tree_to_the_young_end(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {}, used=1000.0)
    cache.use(entry)
    assert entry.last_used() > time.time() - 60


def test_a_failed_use_leaves_no_lease(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {})
    entry.ready.unlink()
    cache.use(entry)
    assert not entry.is_in_use()


def test_the_warm_path_imports_neither_arrow_nor_a_store() -> None:
    script = (
        "import sys, prefect_datasets.core.resolve.resolve, prefect_datasets.core.resolve.inputs\n"
        "heavy = {'pyarrow', 'numpy', 'fsspec', 'obstore', 's3fs', 'prefect', 'pydantic', 'isal'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


# -- after a crash of the machine -------------------------------------------------------------


def test_a_tree_without_tables_fails_the_check_after_a_boot(cache: Cache) -> None:
    entry = fill(cache, "v1-x", {"a": b"1"})
    ready = replace(Ready("u", DIGEST, 1, 1), host=leases.this_host(), boot="another")
    entry.ready.write_bytes(ready.to_json())
    assert ready.is_of_earlier_boot
    found = cache.use(entry)
    assert found is not None
    assert check.after_boot(cache, entry, found) is None
    assert not entry.folder.exists()


def test_verify_of_an_empty_cache_finds_nothing(cache: Cache) -> None:
    assert check.verify(cache, progress=NoProgress()) == []
