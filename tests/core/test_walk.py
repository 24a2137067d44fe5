"""The walk asks all names of a folder at once; here it is held to asking each by itself."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datasets.core.metadata import walk
from prefect_datasets.core.metadata.names import find_twins, shown
from prefect_datasets.core.metadata.walk import UNFINISHED_PREFIX, Walk

# Pieces of names that sort around "/", differ in case or encoding alone, or can't be published.
PIECES = [b"a", b"A", b"b", b"0", b".", b"-", b" ", b"~", b"SS", b"ss", b"\xe9", b"\x01", b"\x7f"]
LETTERS = [letter.encode() for letter in ("é", "e\u0301", "É", "ß", "\x85")]
NAMES_OF_METADATA = [b".metadata.json", b"valohai.metadata.jsonl"]
NAMES = (
    st.lists(st.sampled_from(PIECES + LETTERS + NAMES_OF_METADATA), min_size=1, max_size=3)
    .map(b"".join)
    .filter(lambda name: name not in {b".", b".."})
)
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map(b"/".join),
    st.sampled_from(["file", "empty", "secret", "link", "broken", "pipe", "folder"]),
    max_size=12,
)


def make(root: Path, tree: dict[bytes, str]) -> None:
    """Make a tree; what is in the way of something made before is left out."""
    for path, kind in tree.items():
        at = root / os.fsdecode(path)
        try:
            at.parent.mkdir(parents=True, exist_ok=True)
            make_one(root, at, kind)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue


def make_one(root: Path, at: Path, kind: str) -> None:
    if kind == "folder":
        at.mkdir()
    elif kind == "pipe":
        os.mkfifo(at)
    elif kind == "link":
        at.symlink_to(root / "target")
    elif kind == "broken":
        at.symlink_to("nothing")
    else:
        with at.open("xb") as file:
            file.write(b"" if kind == "empty" else b"12345")
        at.chmod(0o600 if kind == "secret" else 0o644)


def naive(root: Path) -> tuple[dict[bytes, tuple[int, int]], set[bytes]]:
    """Return size and time of each path that can be published, and the paths that can't be."""
    files: dict[bytes, tuple[int, int]] = {}
    refused: set[bytes] = set()
    for folder, _, _ in os.walk(root):
        found = list(Path(folder).iterdir())
        plain = {file.name for file in found if file.is_symlink() or not file.is_dir()}
        for file in [file for file in found if file.name in plain]:
            path = os.fsencode(file.relative_to(root))
            if not can_be_published(file):
                refused.add(path)
            elif not is_metadata(file.name, plain, at_root=file.parent == root):
                files[path] = file.stat().st_size, file.stat().st_mtime_ns
    return files, refused


def is_metadata(name: str, plain: set[str], *, at_root: bool) -> bool:
    if at_root and (name == walk.METADATA_FILE or name.startswith(UNFINISHED_PREFIX)):
        return True
    return name.endswith(".metadata.json") and name.removesuffix(".metadata.json") in plain


def can_be_published(file: Path) -> bool:
    try:
        text = os.fsencode(file.name).decode() + os.fsencode(file.parent).decode()
        return file.is_file() and all(unicodedata.category(c) != "Cc" for c in text)
    except UnicodeDecodeError:
        return False


def walked(found: Walk) -> dict[bytes, tuple[int, int]]:
    """Return size and time of each path, in the order in which they came."""
    rows: dict[bytes, tuple[int, int]] = {}
    for chunk in found.chunks():
        ends = list(accumulate(chunk.lengths, initial=0))
        paths = [chunk.paths[low:high] for low, high in pairwise(ends)]
        assert len(paths) == len(chunk.sizes) == len(chunk.modified)
        assert ends[-1] == len(chunk.paths)
        rows |= dict(zip(paths, zip(chunk.sizes, chunk.modified, strict=True), strict=True))
    return rows


@given(tree=TREES, at_once=st.sampled_from([1, 2, 3, 65536]))
@settings(max_examples=100, deadline=None)
def test_all_names_at_once_are_as_each_by_itself(tree: dict[bytes, str], at_once: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "_CHUNK_ROWS", at_once)
        patch.setattr(walk, "_STATS_AT_ONCE", at_once)
        make(Path(folder), {b"target": "file"} | tree)
        found = Walk(os.fsencode(folder))
        rows = walked(found)
        files, refused = naive(Path(folder))
    assert list(rows) == sorted(files)
    assert rows == files
    assert {line.rsplit(": ", 1)[0] for line in found.refused} == set(map(shown, refused))


def twins(names: list[bytes]) -> set[frozenset[bytes]]:
    groups: dict[str, set[bytes]] = {}
    for name in names:
        text = unicodedata.normalize("NFC", name.decode(errors="surrogateescape"))
        groups.setdefault(unicodedata.normalize("NFC", text.casefold()), set()).add(name)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


@given(names=st.lists(NAMES, unique=True, max_size=12))
def test_twins_are_found_among_all_names_at_once(names: list[bytes]) -> None:
    found = find_twins(sorted(names), b"/".join(sorted(names)))
    assert {frozenset(group) for group in found} == twins(names)


def test_folders_that_go_away_meanwhile_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_bytes(b"1")
    found = Walk(os.fsencode(tmp_path))
    listing = os.listdir

    def listdir(path: bytes) -> list[bytes]:
        names = listing(path)
        for name in names:
            at = Path(os.fsdecode(path + name))
            at.rmdir() if name == b"a" else at.unlink()
        return names

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "listdir", listdir)
        assert walked(found) == {}
    assert found.refused == []


def test_one_folder_with_many_files_and_a_few_others(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number:05}").touch()
    (tmp_path / "05000").unlink()
    (tmp_path / "05000").mkdir()
    (tmp_path / "05000" / "below").touch()
    (tmp_path / "07000").unlink()
    (tmp_path / "07000").symlink_to("00000")
    rows = list(walked(Walk(os.fsencode(tmp_path))))
    assert len(rows) == 10_000
    assert rows == sorted(rows)
    assert rows[5000:5002] == [b"05000/below", b"05001"]
