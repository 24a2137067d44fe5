from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.globs import Globs
from tests import strategies

PATHS = ["a.csv", "x/b.csv", "x/y/c.csv", "x/y/c.csv.bak", ".hidden", "x/.csv", "é.csv"]


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("*.csv", ["a.csv", "é.csv"]),
        ("**.csv", ["a.csv", "x/b.csv", "x/y/c.csv", "x/.csv", "é.csv"]),
        ("**/*.csv", ["a.csv", "x/b.csv", "x/y/c.csv", "x/.csv", "é.csv"]),
        ("**", PATHS),
        ("*", ["a.csv", ".hidden", "é.csv"]),
        ("x/*", ["x/b.csv", "x/.csv"]),
        ("x/**", ["x/b.csv", "x/y/c.csv", "x/y/c.csv.bak", "x/.csv"]),
        ("x/", ["x/b.csv", "x/y/c.csv", "x/y/c.csv.bak", "x/.csv"]),
        ("x/**/c.csv", ["x/y/c.csv"]),
        ("x/**/b.csv", ["x/b.csv"]),
        ("x", []),
        ("?.csv", ["a.csv", "é.csv"]),
        ("[!a].csv", ["é.csv"]),
        ("[a-z].csv", ["a.csv"]),
        ("x[!a]b.csv", []),
        ("x[.-a]b.csv", []),
        ("x[/]b.csv", []),
        ("[.h]*", [".hidden"]),
        ("A.CSV", []),
        ("x/b.csv", ["x/b.csv"]),
    ],
)
def test_what_a_pattern_matches(pattern: str, matching: list[str]) -> None:
    globs = Globs(pattern)
    assert [path for path in PATHS if globs.match(path)] == matching
    assert pa.array(PATHS).filter(globs.filter(pa.array(PATHS))).to_pylist() == matching


def test_several_patterns_match_what_any_of_them_matches() -> None:
    globs = Globs(["*.csv", "x/y/**"])
    assert [path for path in PATHS if globs.match(path)] == [
        "a.csv", "x/y/c.csv", "x/y/c.csv.bak", "é.csv",
    ]  # fmt: skip


def test_no_pattern_matches_nothing() -> None:
    assert not Globs([]).match("a")
    assert Globs([]).filter(pa.array(["a", "b"])).to_pylist() == [False, False]


def test_more_patterns_than_fit_one_expression() -> None:
    paths = pa.chunked_array([[f"{at}.txt"] for at in range(400)])
    globs = Globs([f"{at}.*" for at in range(0, 400, 2)])
    assert globs.filter(paths).to_pylist() == [at % 2 == 0 for at in range(400)]


def test_a_name_with_brackets_matches_itself() -> None:
    assert Globs("img[1].jpg").match("img[1].jpg")
    assert Globs("a[").match("a[")


def test_settled_takes_a_pattern_that_names_a_path_as_that_path_alone() -> None:
    paths = pa.array(["img1.jpg", "img[1].jpg", "x.png"])
    globs = Globs(["img[1].jpg", "*.png"])
    assert globs.filter(paths).to_pylist() == [True, True, True]
    assert globs.settled(paths).filter(paths).to_pylist() == [False, True, True]


def test_unmatched_names_the_patterns_that_match_nothing() -> None:
    globs = Globs(["*.png", "a.csv", "no.csv", "x/**"])
    assert globs.unmatched(pa.array(PATHS)) == ("*.png", "no.csv")


def test_an_empty_pattern_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"A pattern is empty. Write \*\* for every file."):
        Globs([""])


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(
        InvalidInputError, match=r"range z-a runs backwards: x\[z-a\]. Write \[a-z\]."
    ):
        Globs("x[z-a]")


def matches_slowly(pattern: str, path: str) -> bool:
    """Match `*`, `**`, `**/` and `?` by trying everything."""
    if not pattern:
        return not path
    if pattern.startswith("**"):
        rest = pattern.lstrip("*")
        return any(matches_slowly(rest, path[at:]) for at in range(len(path) + 1))
    if pattern.startswith("*"):
        level = path.split("/", maxsplit=1)[0]
        return any(matches_slowly(pattern[1:], path[at:]) for at in range(len(level) + 1))
    here = path[:1]
    return (
        here != ""
        and (here == pattern[0] or (pattern[0] == "?" and here != "/"))
        and matches_slowly(pattern[1:], path[1:])
    )


def matches_by_definition(pattern: str, path: str) -> bool:
    """Try every way to read `**/` at the beginning of a level: as it stands, and as nothing."""
    if pattern == path:
        return True
    readings = [""]
    levels = pattern.split("/")
    for at, level in enumerate(levels):
        text = level + ("/" if at < len(levels) - 1 else "")
        many = len(level) > 1 and not level.strip("*") and at < len(levels) - 1
        readings = [one + way for one in readings for way in ([text, ""] if many else [text])]
    return any(matches_slowly(reading, path) for reading in readings)


_LETTERS = st.text(st.sampled_from("ab/."), min_size=1, max_size=7)
_PATTERNS = st.text(st.sampled_from("ab/.*?"), min_size=1, max_size=7).filter(
    lambda pattern: not pattern.endswith("/")
)


@given(pattern=_PATTERNS, paths=st.lists(_LETTERS, min_size=1, max_size=5))
def test_matching_agrees_with_trying_everything(pattern: str, paths: list[str]) -> None:
    expected = [matches_by_definition(pattern, path) for path in paths]
    globs = Globs(pattern)
    assert [globs.match(path) for path in paths] == expected
    assert globs.filter(pa.array(paths)).to_pylist() == expected


@given(
    pattern=st.text(st.sampled_from("ab-!][^\\*?é"), min_size=1, max_size=8),
    paths=st.lists(strategies.paths(), min_size=1, max_size=5),
)
def test_both_ways_to_match_agree(pattern: str, paths: list[str]) -> None:
    try:
        globs = Globs(pattern)
    except InvalidInputError:
        return
    assert globs.filter(pa.array(paths)).to_pylist() == [globs.match(path) for path in paths]


@given(path=strategies.paths())
def test_every_path_matches_itself(path: str) -> None:
    try:
        globs = Globs(path)
    except InvalidInputError:
        return
    assert globs.match(path)
    assert globs.filter(pa.array([path])).to_pylist() == [True]
