"""The cache and the catalog against a dict, through any sequence of what users and kills do."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.cache import Cache, Selection
from prefect_datasets.core.cache.prune import clear, condemn, plan_clear, plan_prune, prune, survey
from prefect_datasets.core.errors import AlreadyPublishedError, NotFoundError, StoreError
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.resolve.resolve import resolve_version
from prefect_datasets.core.store import Range
from prefect_datasets.core.versions.deletion import delete, plan_delete
from tests.core.published import publish, uri, write_files
from tests.core.trees import CountingStore, files_of

NAMES = ("v1", "v2", "v3")
COST = CostModel(latency_seconds=0, request_bytes=64, job_reads=2)

contents = st.dictionaries(
    st.sampled_from(["a", "b/x", "b/y", "c/d/e", "f"]), st.binary(max_size=150), min_size=1
)


class Killed(BaseException):
    """Stands for a kill: nothing in the engine may catch it and go on."""


class DyingStore(CountingStore):
    """A store whose reader dies after some reads."""

    n_reads_left: int | None = None

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        if self.n_reads_left is not None:
            self.n_reads_left -= 1
            if self.n_reads_left < 0:
                raise Killed
        return super().read_range(key, start, length)

    def read_many(self, ranges: list[Range]) -> list[memoryview]:  # type: ignore[override]
        return [self.read_range(*item) for item in ranges]


class CacheMachine(RuleBasedStateMachine):
    """Versions by name in `published`, what was deleted in `deleted`, trees in use in `held`."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="cache-machine-"))
        (self.root / "store").mkdir()
        self.store = DyingStore(self.root / "store", self.root / "reads")
        self.cache = Cache(self.root / "cache")
        self.published: dict[str, dict[str, bytes]] = {}
        self.deleted: dict[str, dict[str, bytes]] = {}
        self.held: dict[Path, dict[str, bytes]] = {}
        self.n_made = 0

    def teardown(self) -> None:
        self.let_go()
        for folder in (self.root / "cache").rglob("*"):
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o755)
        shutil.rmtree(self.root)

    @rule(name=st.sampled_from(NAMES), files=contents, packaging=st.booleans())
    def publish(self, name: str, files: dict[str, bytes], packaging: bool) -> None:
        self.n_made += 1
        folder = write_files(self.root / f"out{self.n_made}", files)
        taken = self.published.get(name, self.deleted.get(name))
        try:
            publish(folder, self.store, name, packaging=packaging)
        except AlreadyPublishedError:
            assert taken is not None
            assert taken != files
        else:
            assert taken in (None, files)
            self.published[name] = files
            self.deleted.pop(name, None)

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        try:
            deletion = plan_delete(self.store, uri(name))
        except NotFoundError:
            assert name not in self.published
            return
        delete(self.store, deletion)
        self.deleted[name] = self.published.pop(name)

    @rule(name=st.sampled_from(NAMES))
    def resolve(self, name: str) -> None:
        try:
            tree = resolve_version(uri(name), store=self.store, cache=self.cache, cost=COST)
        except NotFoundError:
            assert name not in self.published
            return
        assert files_of(tree.path) == self.published[name]
        self.held[tree.path] = self.published[name]

    @precondition(lambda self: self.published)
    @rule(data=st.data(), shard=st.integers(0, 2))
    def resolve_a_shard(self, data: st.DataObject, shard: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.published)))
        tree = resolve_version(
            uri(name),
            store=self.store,
            cache=self.cache,
            selection=Selection(shard=(shard, 3)),
            cost=COST,
        )
        found = files_of(tree.path)
        assert found.items() <= self.published[name].items()
        self.held[tree.path] = found

    @rule(name=st.sampled_from(NAMES), n_reads=st.integers(0, 5))
    def crash_while_resolving(self, name: str, n_reads: int) -> None:
        self.store.n_reads_left = n_reads
        try:
            tree = resolve_version(uri(name), store=self.store, cache=self.cache, cost=COST)
        except Killed:
            pass
        except NotFoundError:
            assert name not in self.published
        else:
            self.held[tree.path] = self.published[name]
        finally:
            self.store.n_reads_left = None

    @rule(name=st.sampled_from(NAMES))
    def fail_while_resolving(self, name: str) -> None:
        for file in (self.root / "store").rglob("*.vhpkgzip"):
            self.store.fail[str(file.relative_to(self.root / "store"))] = StoreError("Gone away")
        try:
            tree = resolve_version(uri(name), store=self.store, cache=self.cache, cost=COST)
        except NotFoundError:
            assert name not in self.published
        except StoreError:
            assert name in self.published
        else:
            self.held[tree.path] = self.published[name]
        finally:
            self.store.fail.clear()

    @rule()
    def let_go(self) -> None:
        for lease in list(leases._keeper._held):
            if self.cache.root in lease.parents and lease.parent.name == "leases":
                while lease in leases._keeper._held:
                    leases.give_back(lease)
        self.held.clear()

    @rule()
    def crash_while_pruning(self) -> None:
        for entry in self.cache.entries():
            if entry.ready.exists():
                entry.ready.rename(entry.condemned)
                if entry.is_in_use():
                    assert condemn(self.cache, entry) is None
                return

    @rule(max_bytes=st.integers(0, 200_000))
    def prune(self, max_bytes: int) -> None:
        prune(self.cache, plan_prune(survey(self.cache), now=time.time(), max_bytes=max_bytes))

    @rule()
    def clear(self) -> None:
        clear(self.cache, plan_clear(survey(self.cache)))

    @invariant()
    def what_is_in_use_is_whole(self) -> None:
        for path, files in self.held.items():
            assert files_of(path) == files

    @invariant()
    def what_is_ready_is_whole(self) -> None:
        known = {**self.deleted, **self.published}
        for entry in self.cache.entries():
            if entry.ready.exists() and "." not in entry.name:
                assert files_of(entry.files) == known[entry.name.split("-")[0]]


CacheMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestCacheMachine = CacheMachine.TestCase
