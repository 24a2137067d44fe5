from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prefect_datasets.core.store import key_of_path
from prefect_datasets.core.store.keys import MAX_KEY_BYTES, MAX_SEGMENT_BYTES, TEMPORARY

# Any name of a file in UTF-8, with the characters that matter more often than chance has them.
NAMES = st.text(
    st.one_of(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]),
        st.sampled_from("\\%.~ 25CE\n\u2028\ufffe"),
    ),
    min_size=1,
    max_size=90,
)
PATHS = st.lists(NAMES, min_size=1, max_size=8).map("/".join)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("cats/1.jpg", "cats/1.jpg"),
        ("a b/c (1).txt", "a b/c (1).txt"),
        ("日本語/ü.txt", "日本語/ü.txt"),
        (".hidden", ".hidden"),
        ("50%.txt", "50%25.txt"),
        ("a\\b", "a%5Cb"),
        ("a/../b", "a/.%2E/b"),
        (".", "%2E"),
        (" x ", "%20x%20"),
        ("end.", "end%2E"),
        ("new\nline", "new%0Aline"),
        ("\ufffe", "%EF%BF%BE"),
        (f"{TEMPORARY}x", f"%2E{TEMPORARY[1:]}x"),
    ],
)
def test_keys(path: str, key: str) -> None:
    assert key_of_path(path) == key


@given(st.lists(PATHS, unique=True, min_size=2, max_size=6))
@example(["a%5Cb", "a\\b"])
@example(["\\" * 100, "\\" * 101])
@example(["a/" * 500 + "b", "a/" * 500 + "c"])
def test_different_paths_have_different_keys(paths: list[str]) -> None:
    assert len({key_of_path(path) for path in paths}) == len(paths)


@given(PATHS)
def test_no_key_has_what_stores_mangle(path: str) -> None:
    key = key_of_path(path)
    assert len(key.encode()) <= MAX_KEY_BYTES
    assert not set(key) & {"\\", "?", "#", "*", "\x7f", *map(chr, range(32))}
    for segment in key.split("/"):
        assert segment not in ("", ".", "..")
        assert segment == segment.strip(" ")
        assert not segment.endswith(".")
        assert not segment.startswith(TEMPORARY)
        assert len(segment.encode()) <= MAX_SEGMENT_BYTES


@given(st.text(string.ascii_letters + string.digits + "_-/", min_size=1, max_size=100))
def test_plain_paths_are_their_own_keys(text: str) -> None:
    path = "/".join(part for part in text.split("/") if part) or "x"
    assert key_of_path(path) == path
