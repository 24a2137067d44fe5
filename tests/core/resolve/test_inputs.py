"""Inputs of one or several versions, and the folder or link that they become."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache, Selection
from prefect_datasets.core.errors import IntegrityError, InvalidInputError, NotFoundError
from prefect_datasets.core.publish.publish import Policy
from tests.core.published import write_files
from tests.core.resolve.small_versions import FILES, get, put, take
from tests.core.trees import CountingStore, files_of


def test_one_version_is_its_tree(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", FILES)
    found = take(store, cache, "dataset://pets/v1")
    assert found.path == get(store, cache).path == found.trees[0].path
    assert (found.n_files, found.is_warm) == (len(FILES), False)


def test_a_target_is_a_link_to_the_tree(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path
) -> None:
    put(out, store, "v1", FILES)
    for target in (tmp_path / "new/place", tmp_path / "there"):
        if target.name == "there":
            target.mkdir()
        found = take(store, cache, "dataset://pets/v1", target=target)
        assert found.path == target
        assert target.is_symlink()
        assert files_of(target.resolve()) == FILES


@pytest.mark.parametrize("link", ["symlink", "hardlink", "copy"])
def test_a_target_that_is_taken_is_refused(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path, link: str
) -> None:
    put(out, store, "v1", FILES)
    taken = write_files(tmp_path / "taken", {"x": b"1"})
    for target in (taken, taken / "x"):
        with pytest.raises(InvalidInputError, match="is there already"):
            take(store, cache, "dataset://pets/v1", target=target, link=link)
    assert files_of(taken) == {"x": b"1"}


def test_a_copy_can_be_written_to_and_a_hard_link_can_not(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path
) -> None:
    put(out, store, "v1", FILES)
    uri_ = "dataset://pets/v1"
    linked = take(store, cache, uri_, target=tmp_path / "linked", link="hardlink").path
    copied = take(store, cache, uri_, target=tmp_path / "copied", link="copy").path
    tree = get(store, cache).path
    assert files_of(linked) == files_of(copied) == FILES
    assert (linked / "a/one").stat().st_ino == (tree / "a/one").stat().st_ino
    assert stat.S_IMODE((linked / "a/one").stat().st_mode) == 0o444
    (copied / "a/one").write_bytes(b"changed")
    (copied / "a/new").touch()
    assert files_of(tree) == FILES


def test_copies_without_a_target_are_one_s_own(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", FILES)
    one, other = (take(store, cache, "dataset://pets/v1", link="copy").path for _ in range(2))
    (one / "a/one").write_bytes(b"changed")
    assert files_of(other) == FILES


@pytest.mark.parametrize("link", ["symlink", "hardlink", "copy"])
def test_a_target_below_a_file_is_refused_before_anything_is_fetched(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path, link: str
) -> None:
    put(out, store, "v1", FILES)
    write_files(tmp_path, {"x": b"1"})
    with pytest.raises(InvalidInputError, match=f"no folder.*: {tmp_path}/x"):
        take(store, cache, "dataset://pets/v1", target=tmp_path / "x/new/place", link=link)
    assert not cache.root.exists()


def test_a_cache_that_is_a_file_is_the_callers_fault(
    store: CountingStore, out: Path, tmp_path: Path
) -> None:
    put(out, store, "v1", FILES)
    write_files(tmp_path, {"x": b"1"})
    for root in (tmp_path / "x", tmp_path / "x/sub"):
        with pytest.raises(InvalidInputError, match=r"can't be used \(Not a directory\)") as caught:
            get(store, Cache(root))
        assert caught.value.subject == str(root)


@pytest.mark.parametrize("link", ["hardlink", "copy"])
def test_a_tree_that_lacks_a_file_is_not_passed_on(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path, link: str
) -> None:
    put(out, store, "v1", FILES)
    folder = get(store, cache).path / "a"
    folder.chmod(0o755)
    (folder / "one").unlink()
    with pytest.raises(IntegrityError, match="4 of 5 files"):
        take(store, cache, "dataset://pets/v1", target=tmp_path / "target", link=link)
    assert not list(tmp_path.glob("*target*"))


def test_include_and_shard_are_refused_where_they_would_be_ignored(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", FILES)
    with pytest.raises(InvalidInputError, match="among the files of a version"):
        take(store, cache, f"{store.url}/**", selection=Selection(shard=(0, 2)))


def test_a_url_that_ends_with_a_slash_is_no_object(store: CountingStore, cache: Cache) -> None:
    store.write("in/a.txt", b"1")
    for url in (f"{store.url}/in/", "memory://bucket/in/", "memory://bucket"):
        with pytest.raises((NotFoundError, InvalidInputError), match=r"No such object|Not a URL"):
            take(store, cache, url)


def test_after_a_failure_there_is_no_target(
    store: CountingStore, cache: Cache, out: Path, tmp_path: Path
) -> None:
    put(out, store, "v1", {"a/x": b"1", "b/x": b"2"})
    for link in ("symlink", "hardlink", "copy"):
        with pytest.raises(InvalidInputError, match="Two files would both be 'x'") as caught:
            take(
                store,
                cache,
                "dataset://pets/v1",
                target=tmp_path / "target",
                link=link,
                keep_directories="none",
            )
        assert "a/x" in str(caught.value)
        assert "b/x" in str(caught.value)
    assert not list(tmp_path.glob("*target*"))


def test_several_versions_share_a_folder(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", {"a/x": b"1"})
    put(out, store, "v2", {"a/y": b"2", "z": b"3"})
    found = take(store, cache, "dataset://pets/v1", "dataset://pets/v2")
    assert files_of(found.path) == {"a/x": b"1", "a/y": b"2", "z": b"3"}
    again = take(store, cache, "dataset://pets/v1", "dataset://pets/v2")
    assert (again.path, again.is_warm) == (found.path, True)


def test_a_file_where_another_has_a_folder_is_refused(
    store: CountingStore, cache: Cache, out: Path
) -> None:
    put(out, store, "v1", {"a": b"1"})
    put(out, store, "v2", {"a/y": b"2"})
    with pytest.raises(InvalidInputError, match="Two files would both be 'a'"):
        take(store, cache, "dataset://pets/v1", "dataset://pets/v2")


def test_flat_inputs(store: CountingStore, cache: Cache, out: Path) -> None:
    put(out, store, "v1", {"a/x": b"1", "b/c/y": b"2"})
    found = take(store, cache, "dataset://pets/v1", keep_directories="none")
    assert files_of(found.path) == {"x": b"1", "y": b"2"}


def test_a_datum_is_a_file(store: CountingStore, cache: Cache, out: Path) -> None:
    from prefect_datasets.core.format.rows import datum_id

    record = put(out, store, "v1", FILES, policy=Policy(individual_files=False))
    datum = datum_id(record.execution, "a/one")
    found = take(store, cache, f"datum://{datum}", keep_directories="suffix")
    assert files_of(found.path) == {"one": FILES["a/one"]}
    assert take(store, cache, f"datum://{datum}", keep_directories="suffix").is_warm
