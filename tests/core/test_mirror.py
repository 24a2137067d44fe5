"""A tree that is linked whole before anything is decided: what is left of it is the version."""

from __future__ import annotations

import marshal
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datasets.core.cache.cache import Cache, Entry, Selection
from prefect_datasets.core.errors import NoSpaceError
from prefect_datasets.core.processes import read_answer
from prefect_datasets.core.reads import CostModel
from prefect_datasets.core.resolve import extract, writer
from prefect_datasets.core.resolve import writers as writing
from prefect_datasets.core.resolve.fetch import Fetcher
from prefect_datasets.core.resolve.mirror import Mirror, tree_before
from prefect_datasets.core.resolve.resolve import Tree, resolve_version
from prefect_datasets.core.resolve.writer import name_checksum
from prefect_datasets.core.resolve.writers import Writers
from prefect_datasets.core.store import open_store
from prefect_datasets.core.versions import catalog
from tests.core.children import children
from tests.core.published import publish, uri, write_files
from tests.core.trees import files_of

MANY = 100_000
V1 = {f"{folder}/{n}": f"{folder}{n}".encode() * 20 for folder in ("a", "b/c", "d") for n in "1234"}
V2 = {
    **{path: content for path, content in V1.items() if not path.startswith("d/")},
    "a/1": b"changed",
    "b/c/new": b"new",
    "b/renamed": V1["d/1"],
    "d": b"a folder before",
    "e/f/g": V1["b/c/2"],
}

NAMES_OF_V1 = (len(V1), lambda: name_checksum(path.encode() for path in V1))
# Every file but the shortest is read in pieces, as files of many megabytes are.
IN_PIECES = CostModel(latency_seconds=0, request_bytes=16)


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes write few files as well, on any machine."""
    monkeypatch.setattr(writing, "_LEAST_FILES", 0)
    monkeypatch.setattr(writing, "n_processors", lambda: 2)


@pytest.fixture
def mirrored(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """The trees that were linked whole and kept; None for each that was given up."""
    taken: list[Path | None] = []
    take, give_up = Mirror.take, Mirror.give_up

    def taking(self: Mirror, n_files: int, name_checksum: Callable[[], int]) -> bool:
        is_whole = take(self, n_files, name_checksum)
        taken.append(self.tree if is_whole else None)
        return is_whole

    def giving_up(self: Mirror) -> None:
        give_up(self)
        taken.append(None)

    monkeypatch.setattr(Mirror, "take", taking)
    monkeypatch.setattr(Mirror, "give_up", giving_up)
    return taken


def put(folder: Path, name: str, files: dict[str, bytes], parent: str | None = None) -> None:
    """Publish exactly these files."""
    store = open_store(str(folder / "store"))
    out = write_files(folder / name, files)
    base: dict[str, Any] = {"base": uri(parent), "exclude": ("**",)} if parent else {}
    publish(out, store, name, **base)


def get(folder: Path, name: str, cost: CostModel | None = None) -> Tree:
    """Resolve a version into the one cache."""
    store = open_store(str(folder / "store"))
    return resolve_version(uri(name), store=store, cache=Cache(folder / "cache"), cost=cost)


def test_what_has_changed_is_put_right(tmp_path: Path, mirrored: list[Path | None]) -> None:
    put(tmp_path, "v1", V1)
    put(tmp_path, "v2", V2, "v1")
    old = get(tmp_path, "v1")
    tree = get(tmp_path, "v2")
    assert mirrored == [old.path]
    assert files_of(tree.path) == V2
    assert files_of(old.path) == V1
    assert {path.name for path in tree.path.rglob("*") if path.is_dir()} == set("abcef")
    assert all(path.stat().st_mode & 0o222 == 0 for path in tree.path.rglob("*"))
    fresh = {"a/1", "b/c/new", "d"}
    assert (tree.n_files, tree.n_bytes) == (len(V2), sum(map(len, V2.values())))
    assert tree.n_linked_files == len(V2) - len(fresh)
    for path in V2.keys() & V1.keys() - fresh:
        assert (tree.path / path).samefile(old.path / path)


def test_a_version_without_a_parent_is_taken_to_be_like_the_one_used_last(
    tmp_path: Path, mirrored: list[Path | None]
) -> None:
    put(tmp_path, "v0", {"x": b"x"})
    put(tmp_path, "v1", V1)
    put(tmp_path, "v2", V2)
    get(tmp_path, "v0")
    old = get(tmp_path, "v1")
    assert files_of(get(tmp_path, "v2").path) == V2
    assert mirrored == [old.path]  # v0 is too small to be like v1: nothing was begun


def test_a_tree_that_turns_out_to_be_another_is_given_up(
    tmp_path: Path, mirrored: list[Path | None]
) -> None:
    """All names are the same and all bytes but one file's are not."""
    files = {path: b"again " + content for path, content in V1.items()}
    files["a/1"] = V1["a/1"]
    put(tmp_path, "v1", V1)
    put(tmp_path, "v2", files, "v1")
    old = get(tmp_path, "v1")
    tree = get(tmp_path, "v2")
    assert mirrored == [None]
    assert files_of(tree.path) == files
    assert files_of(old.path) == V1
    assert tree.n_linked_files == 1


@pytest.mark.parametrize("cost", [None, IN_PIECES], ids=["whole", "in pieces"])
def test_what_is_new_is_read_while_the_tree_is_linked_and_written_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: CostModel | None
) -> None:
    put(tmp_path, "v1", V1)
    put(tmp_path, "v2", {**V2, "a/1": b"changed " * 20}, "v1")
    get(tmp_path, "v1")
    has_read, seen = threading.Event(), list[set[str]]()
    read, take = Fetcher.read, Mirror.take

    def reading(self: Fetcher, *given: Any, **named: Any) -> list[memoryview]:
        found = read(self, *given, **named)
        has_read.set()
        return found

    def taking(self: Mirror, n_files: int, name_checksum: Callable[[], int]) -> bool:
        assert has_read.wait(30)
        is_whole = take(self, n_files, name_checksum)
        (files,) = (tmp_path / "cache").glob("attempts/**/files")
        seen.append({*files_of(files)})
        return is_whole

    monkeypatch.setattr(Fetcher, "read", reading)
    monkeypatch.setattr(Mirror, "take", taking)
    assert files_of(get(tmp_path, "v2", cost).path) == {**V2, "a/1": b"changed " * 20}
    assert seen == [{*V1}]


@pytest.mark.parametrize("cost", [None, IN_PIECES], ids=["whole", "in pieces"])
def test_what_fails_while_it_is_put_right_is_raised_and_the_next_resolve_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: CostModel | None
) -> None:
    put(tmp_path, "v1", V1)
    put(tmp_path, "v2", V2, "v1")
    get(tmp_path, "v1")

    def failing(*_: object) -> None:
        raise NoSpaceError("The disk is full", subject="d/1", hint="Make room.")

    with monkeypatch.context() as patched:
        patched.setattr(extract, "remove", failing)
        with pytest.raises(NoSpaceError, match="full"):
            get(tmp_path, "v2", cost)
    assert files_of(get(tmp_path, "v2", cost).path) == V2


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_any_two_versions(data: st.DataObject) -> None:
    """Few names and contents, so that files move, double, and become folders."""
    names = st.sampled_from(["a", "b", "a/b", "a/c", "b/a/a", "b/b"])
    trees = st.dictionaries(names, st.sampled_from([b"", b"1", b"22"]), min_size=1).filter(
        lambda files: not any(other.startswith(f"{name}/") for name in files for other in files)
    )
    one, two = data.draw(trees), data.draw(trees)
    folder = Path(tempfile.mkdtemp())
    try:
        put(folder, "v1", one)
        put(folder, "v2", two, "v1")
        get(folder, "v1")
        cost = data.draw(st.sampled_from([None, CostModel(request_bytes=1)]))
        assert files_of(get(folder, "v2", cost).path) == two
    finally:
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("harm", ["lost", "added"])
def test_a_tree_that_is_not_as_it_was_is_not_taken(
    tmp_path: Path, mirrored: list[Path | None], harm: str
) -> None:
    put(tmp_path, "v1", V1)
    put(tmp_path, "v2", V2, "v1")
    old = get(tmp_path, "v1").path
    (old / "b" / "c").chmod(0o755)
    if harm == "lost":
        (old / "b" / "c" / "3").unlink()
    else:
        (old / "b" / "c" / "stranger").write_text("?")
    assert files_of(get(tmp_path, "v2").path) == V2
    assert mirrored == [None]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A tree in the making."""
    target = tmp_path / "target"
    target.mkdir()
    return target


@pytest.fixture
def source(tmp_path: Path) -> Entry:
    """The tree to link from."""
    put(tmp_path, "v1", V1)
    cache = Cache(tmp_path / "cache")
    return cache.version(uri("v1"), get(tmp_path, "v1").digest, Selection())


@pytest.mark.parametrize("name", ["a/1", "a/2"], ids=["changed", "the same"])
def test_a_file_that_somebody_renamed_is_fetched(tmp_path: Path, name: str) -> None:
    put(tmp_path, "v1", V1)
    put(tmp_path, "v2", V2, "v1")
    old = get(tmp_path, "v1").path
    (old / "a").chmod(0o755)
    (old / name).rename(old / "a" / "another")
    assert files_of(get(tmp_path, "v2").path) == V2


def test_what_lies_behind_a_link_to_a_folder_is_fetched(tmp_path: Path) -> None:
    put(tmp_path, "v1", V1)
    put(tmp_path, "v2", V2, "v1")
    old = get(tmp_path, "v1").path
    for folder in (old, old / "a"):
        folder.chmod(0o755)
    (old / "a").rename(tmp_path / "a")
    (old / "a").symlink_to(tmp_path / "a")
    tree = get(tmp_path, "v2").path
    assert not (tree / "a").is_symlink()
    assert files_of(tree) == V2


def test_a_tree_whose_tables_are_lost_is_no_source(tmp_path: Path) -> None:
    put(tmp_path, "v1", V1)
    put(tmp_path, "v2", V2, "v1")
    old = get(tmp_path, "v1").path
    for table in (old.parent / "parts").iterdir():
        table.unlink()
    assert files_of(get(tmp_path, "v2").path) == V2


def test_folders_of_an_order_that_failed_are_not_told(tmp_path: Path, target: Path) -> None:
    """They are taken back; what is told is locked in the end."""
    source = write_files(tmp_path / "source", {f"{folder}/x": b"" for folder in "abcdefgh"})
    order = partial(writer.answer, memory=memoryview(b""))
    for folder in "abcdefgh":
        (target / folder).write_text("in the way")
        tree = marshal.dumps((str(target), writer.TREE, (str(source), 0, 1)))
        with pytest.raises(OSError, match=folder):
            read_answer(order(tree))
        shutil.rmtree(target)
        target.mkdir()
    link = marshal.dumps((str(target), writer.LINK, (str(source), ["a/x"], ["new/x"])))
    assert read_answer(order(link)) == ([], ["new"])


def test_killed_processes_leave_nothing(tmp_path: Path, source: Entry, target: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with Writers(target, MANY) as writers, Mirror(cache, source, target, writers=writers) as mirror:
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        is_whole = mirror.take(*NAMES_OF_V1)
        assert (is_whole, files_of(target)) in [(False, {}), (True, V1)]


def test_what_can_not_be_linked_leaves_nothing(tmp_path: Path, source: Entry, target: Path) -> None:
    """A file in the way stands for whatever keeps one from being linked."""
    (target / "d").write_text("in the way")
    cache = Cache(tmp_path / "cache")
    with Writers(target, MANY) as writers, Mirror(cache, source, target, writers=writers) as mirror:
        assert not mirror.take(*NAMES_OF_V1)
        assert files_of(target) == {}
        assert writers.made == set()


@pytest.mark.parametrize(
    ("name", "parent", "n_files", "is_found"),
    [
        ("v2", "v1", 12, True),
        ("v2", "v1", 25, False),  # too few are here
        ("v2", "", 12, True),
        ("v2", "v3", 12, True),  # which is not here
    ],
)
def test_which_tree_is_mirrored(
    tmp_path: Path, source: Entry, name: str, parent: str, n_files: int, is_found: bool
) -> None:
    files = {f"{n:02}": b"" for n in range(n_files)}
    store = open_store(str(tmp_path / "store"))
    put(tmp_path, name, files)
    record = replace(catalog.find(store, uri(name)), parent=str(uri(parent)) if parent else "")
    cache = Cache(tmp_path / "cache")
    entry = cache.version(record.uri, record.digest, Selection())
    assert tree_before(cache, entry, record) == (source if is_found else None)


def test_a_tree_of_an_earlier_boot_is_not_mirrored(tmp_path: Path, source: Entry) -> None:
    put(tmp_path, "v2", V2, "v1")
    record = catalog.find(open_store(str(tmp_path / "store")), uri("v2"))
    ready = source.read_ready()
    assert ready is not None
    source.ready.write_bytes(replace(ready, boot="another").to_json())
    cache = Cache(tmp_path / "cache")
    assert tree_before(cache, cache.version(record.uri, record.digest, Selection()), record) is None
