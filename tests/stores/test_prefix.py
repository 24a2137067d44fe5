"""Publishing what lies below a prefix, from every kind of store."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import fsspec
import pytest

from prefect_datasets.core.errors import InvalidInputError, SourceChangedError
from prefect_datasets.core.format import keys, parts
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.publish.plan import Plan
from prefect_datasets.core.publish.prefix import plan_prefix
from prefect_datasets.core.publish.publish import publish_part, publish_plan
from prefect_datasets.core.store import Range, Store, gcs, open_store
from prefect_datasets.core.store.stamps import stamp_of
from prefect_datasets.core.versions import catalog
from prefect_datasets.core.versions.garbage import GRACE_SECONDS, plan_garbage
from prefect_datasets.core.versions.verify import verify
from tests.core.published import Told, contents, declare, uri
from tests.servers.faultproxy import FaultProxy
from tests.servers.process import Served
from tests.stores.contents import spread
from tests.stores.test_stores import PlainFileSystem

# As people call their objects; the store's own rules for keys do not hold for these.
ODD = ["a b.txt", "ünï/日本語.txt", "plus+and&.txt", "100%.txt", "per%20cent.txt", "hash#tag.txt"]
LARGE = 40_000_000  # several pieces, and ranges on their way at the same time
FILES = {
    **{f"many/{number:03}.bin": spread(1500, number) for number in range(40)},
    **{f"odd/{name}": name.encode() for name in ODD},
    "empty": b"",
}


@pytest.fixture
def proxy(seaweedfs: Served) -> Generator[FaultProxy]:
    with FaultProxy(str(seaweedfs.options["endpoint_url"])) as running:
        yield running


class PrefixContract:
    """A subclass gives `url` and `options` of a place for objects."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {}

    @pytest.fixture
    def raw(self, url: str, options: dict[str, object], fresh_prefix: str) -> Store:
        """Where the objects lie."""
        return open_store(f"{url}/{fresh_prefix}/raw", options)

    @pytest.fixture
    def store(self, url: str, options: dict[str, object], fresh_prefix: str) -> Store:
        """Where they are published."""
        return open_store(f"{url}/{fresh_prefix}/store", options)

    def test_the_version_has_what_lies_there(self, raw: Store, store: Store) -> None:
        files = {**FILES, "large.bin": spread(LARGE)}
        raw.write_many(list(files.items()))
        record = publish(raw, store, "v1")
        assert contents(store, record) == files
        assert verify(record.uri, store=store, deep=True).is_whole
        for row in parts.read_rows(store, record).to_pylist():
            assert store.info(row["url"]), "an object of its own, that no one else changes"

    def test_again_sends_nothing(self, raw: Store, store: Store) -> None:
        raw.write_many(list(FILES.items()))
        first = publish(raw, store, "v1")
        before = {info.key for info in store.list(keys.OUTPUTS)}
        assert publish(raw, store, "v1") == first
        new = {info.key for info in store.list(keys.OUTPUTS)} - before
        assert all(key.endswith("execution.json") for key in new)

    def test_from_sends_what_changed(self, raw: Store, store: Store) -> None:
        raw.write_many(list(FILES.items()))
        publish(raw, store, "v1")
        raw.write("many/007.bin", b"changed")
        raw.write("new", b"added")
        raw.delete(["empty"])
        second = publish(raw, store, "v2", base=uri("v1"), exclude=("empty",))
        changes = {"many/007.bin": b"changed", "new": b"added"}
        expected = {path: data for path, data in {**FILES, **changes}.items() if path != "empty"}
        assert contents(store, second) == expected
        sent = [info.key for info in store.list(keys.files_prefix(second.execution))]
        assert sorted(key.split("/files/")[1] for key in sent) == sorted(changes)

    @pytest.mark.parametrize("change", ["size", "content", "gone", "empty"])
    def test_an_object_that_changes_is_named(self, raw: Store, store: Store, change: str) -> None:
        raw.write_many([("kept", b"1"), ("sub/changed", b"before"), ("zero", b"")])
        plan = planned(raw, store, "v1")
        victim, content = ("zero", b"x") if change == "empty" else ("sub/changed", b"later")
        if change == "gone":
            raw.delete([victim])
        else:
            raw.write(victim, b"after!" if change == "content" else content)
        with pytest.raises(SourceChangedError, match=victim):
            publish_plan(plan, store=store)
        assert catalog.read_record(store, uri("v1")) is None
        assert not [info for info in store.list(keys.OUTPUTS) if "packages" in info.key]

    def test_a_large_object_that_changes_is_named(self, raw: Store, store: Store) -> None:
        raw.write("large.bin", spread(LARGE))
        plan = planned(raw, store, "v1")
        raw.write("large.bin", spread(LARGE, 2))
        with pytest.raises(SourceChangedError, match=r"large\.bin"):
            publish_part(plan.versions[0].parts[0], store=store)

    def test_metadata_is_honoured(self, raw: Store, store: Store) -> None:
        entry = {"uri": "dataset://pets/v1", "packaging": True, "targeting_aliases": ["best"]}
        lines = [
            {"file": "cats/1.jpg", "metadata": {"valohai.dataset-versions": [entry], "k": 1}},
            {"file": raw.url_of("cats/2.jpg"), "metadata": {"k": 2}},
        ]
        sidecar = {"valohai.dataset-versions": ["dataset://pets/v1"], "k": 3}
        raw.write("valohai.metadata.jsonl", "\n".join(map(json.dumps, lines)).encode())
        raw.write("dogs/1.jpg.metadata.json", json.dumps(sidecar).encode())
        raw.write("data.metadata.json", b'{"of": "no file"}')
        raw.write_many([(f"{name}.jpg", name.encode()) for name in ("cats/1", "cats/2", "dogs/1")])
        told = Told()
        plan = plan_prefix(raw.url, store=store, options=raw.options)
        [record] = publish_plan(plan, store=store, progress=told)
        assert contents(store, record) == {"cats/1.jpg": b"cats/1", "dogs/1.jpg": b"dogs/1"}
        assert catalog.find(store, uri("best")) == record
        said = [row["metadata"] for row in parts.read_rows(store, record).to_pylist()]
        assert [json.loads(text) for text in said] == [{"k": 1}, {"k": 3}]
        assert any("2 objects below" in warning for warning in told.warnings)
        assert not list(store.list(keys.file_key(record.execution, "cats/2.jpg")))

    def test_patterns_choose(self, raw: Store, store: Store) -> None:
        raw.write_many([(path, path.encode()) for path in ("a/1.csv", "a/b/2.csv", "a/3.txt")])
        wanted = {"1.csv": b"a/1.csv", "b/2.csv": b"a/b/2.csv"}
        one = publish_url(f"{raw.url}/a/**.csv", raw, store, "one")
        assert contents(store, one) == wanted
        two = publish_url(f"{raw.url}/a", raw, store, "two", include=("*.csv", "b/"))
        assert two.digest == one.digest
        with pytest.raises(InvalidInputError, match=r"None of 3 objects matches '\*\.png'"):
            plan_prefix(f"{raw.url}/*.png", store=store, options=raw.options)

    def test_bytes_come_with_what_they_are_of(self, raw: Store) -> None:
        data = spread(100_000)
        raw.write_many([("some", data), ("none", b"")])
        listed = {info.key: info for info in raw.list("")}
        for key, start, length in (("some", 0, 100_000), ("some", 99, 10), ("none", 0, 0)):
            got, info = raw.read_with_info(Range(key, start, length))
            assert got == (data[start : start + length] if key == "some" else b"")
            assert (info.key, info.n_bytes) == (key, listed[key].n_bytes)
            assert stamp_of(info) == stamp_of(listed[key])


def planned(raw: Store, store: Store, name: str, *, read_all: bool = False, **rest: object) -> Plan:
    declared = declare(name, **{"packaging": True, **rest})
    return plan_prefix(raw.url, store=store, options=raw.options, to=[declared], read_all=read_all)


def publish(
    raw: Store, store: Store, name: str, *, read_all: bool = False, **rest: object
) -> VersionRecord:
    plan = planned(raw, store, name, read_all=read_all, **rest)
    [record] = publish_plan(plan, store=store)
    return record


def publish_url(
    url: str, raw: Store, store: Store, name: str, include: Sequence[str] = ()
) -> VersionRecord:
    declared = declare(name, packaging=True)
    plan = plan_prefix(url, store=store, options=raw.options, include=include, to=[declared])
    [record] = publish_plan(plan, store=store)
    return record


class TestMemory(PrefixContract):
    @pytest.fixture
    def url(self) -> str:
        return "memory://prefixes"


class TestGeneric(PrefixContract):
    """A filesystem that knows no ETags: the time of the last change has to do."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        fsspec.register_implementation("plainfs", PlainFileSystem, clobber=True)
        return f"plainfs://{tmp_path}"


class ServedPrefix(PrefixContract):
    @pytest.fixture
    def served(self) -> Served:
        raise NotImplementedError

    @pytest.fixture
    def url(self, served: Served) -> str:
        return served.url

    @pytest.fixture
    def options(self, served: Served) -> dict[str, object]:
        return served.options


class TestSeaweedFS(ServedPrefix):
    @pytest.fixture
    def served(self, seaweedfs: Served) -> Served:
        return seaweedfs

    def test_only_what_changed_is_read_again(
        self, raw: Store, store: Store, proxy: FaultProxy
    ) -> None:
        """Reads go through a proxy that refuses all but those that are due."""
        seen = open_store(raw.url, {**raw.options, "endpoint_url": proxy.url})
        raw.write_many(list(FILES.items()))
        first = publish(seen, store, "v1")
        reads = proxy.fail("GET", "refuse", path="/raw/", times=10**6)
        assert publish(seen, store, "v1") == first
        second = publish(seen, store, "v2", base=uri("v1"))
        assert (second.digest, second.packages) == (first.digest, first.packages)
        assert reads.hits == 0
        proxy.clear()

        raw.write_many([("many/007.bin", spread(1500, 99)), ("new", b"")])
        proxy.fail("GET", "refuse", path=r"/raw/(?!many/007\.bin|new)", times=10**6)
        third = publish(seen, store, "v3", base=uri("v2"))
        proxy.clear()
        changed = {**FILES, "many/007.bin": spread(1500, 99), "new": b""}
        assert contents(store, third) == changed
        reads = proxy.fail("GET", "refuse", path="/raw/many/000")
        assert publish(seen, store, "v4", read_all=True).digest == third.digest
        assert reads.hits == 1
        assert verify(third.uri, store=store, deep=True).is_whole

    def test_stamps_live_as_long_as_the_version(self, raw: Store, store: Store) -> None:
        raw.write("a", b"1")
        publish(raw, store, "v1")
        garbage = plan_garbage(store, time.time() + 2 * GRACE_SECONDS)
        assert not garbage.keys


class TestSeaweedFSByS3fs(ServedPrefix):
    @pytest.fixture
    def served(self, seaweedfs: Served) -> Served:
        return Served(seaweedfs.url, {**seaweedfs.options, "fast": False})


# gcsfs gives aiohttp large bodies as bytes on purpose.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestGcs(ServedPrefix):
    @pytest.fixture
    def served(self, fake_gcs: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
        monkeypatch.setattr(gcs, "_LIST_PAGE", 20)
        return fake_gcs

    def test_keys_that_are_no_paths_are_all_told(self, raw: Store, store: Store) -> None:
        odd = ("a//b", "a/./b", "up/../b", "file", "file/below", "fine")
        raw.write_many([(key, b"1") for key in odd])
        with pytest.raises(InvalidInputError, match="Some names can't be published") as caught:
            plan_prefix(raw.url, store=store, options=raw.options)
        assert caught.value.faults == (
            "'a/./b': an empty part, `.` or `..` in a key is no name of a file",
            "'a//b': an empty part, `.` or `..` in a key is no name of a file",
            "'file': others lie below it as if it were a folder",
            "'up/../b': an empty part, `.` or `..` in a key is no name of a file",
        )
        assert publish_url(f"{raw.url}/fin*", raw, store, "v1").n_files == 1
