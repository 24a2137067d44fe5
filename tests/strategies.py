"""What hypothesis draws from: paths and files as a version may have them, and their metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from prefect_datasets.core.metadata.scan import METADATA_FILE, SIDECAR_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

# Few letters, so that folders are shared and names sort on both sides of "/"; then everything that
# some store, shell or file system takes for something else; then whatever UTF-8 has.
_CHARACTERS = st.one_of(
    st.sampled_from("abA.-_0"),
    st.sampled_from(" \\:%*?[]!#&+'\"~$<>|@=;,{}^`"),
    st.characters(codec="utf-8", categories=["L", "N", "P", "S", "M"], exclude_characters="/"),
)


def names() -> st.SearchStrategy[str]:
    """Names of files and folders that any Linux file system takes."""
    return (
        st.text(_CHARACTERS, min_size=1, max_size=12)
        .filter(lambda name: name not in {".", ".."} and len(name.encode()) <= 255)
        .filter(lambda name: not name.endswith(SIDECAR_SUFFIX) and METADATA_FILE not in name)
    )


def paths() -> st.SearchStrategy[str]:
    """Paths of files in a version."""
    return st.lists(names(), min_size=1, max_size=4).map("/".join)


def path_lists(*, min_size: int = 0, max_size: int = 12) -> st.SearchStrategy[list[str]]:
    """Paths in path order, each once, no file where another has a folder."""
    drawn = st.lists(paths(), min_size=min_size, max_size=max_size, unique=True)
    return drawn.map(_without_clashes).filter(lambda kept: len(kept) >= min_size)


def files(*, min_size: int = 0, max_size: int = 12) -> st.SearchStrategy[dict[str, bytes]]:
    """Contents of files by path, in path order."""
    return path_lists(min_size=min_size, max_size=max_size).flatmap(
        lambda kept: st.tuples(*(st.binary(max_size=40) for _ in kept)).map(
            lambda contents: dict(zip(kept, contents, strict=True))
        )
    )


def json_values() -> st.SearchStrategy[Any]:
    """Anything that JSON can say and says back."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=6,
    )


def uris() -> st.SearchStrategy[str]:
    """URIs of a few dataset versions, so that files share them."""
    return st.builds(
        "dataset://{}/{}".format,
        st.sampled_from(["images", "a.b-c_1"]),
        st.sampled_from(["v1", "V.2"]),
    )


def entries() -> st.SearchStrategy[str | dict[str, Any]]:
    """Items of `valohai.dataset-versions` that contradict no other: strings and objects."""
    said = st.fixed_dictionaries(
        {"uri": uris()},
        optional={
            "packaging": st.booleans(),
            "from": st.just("dataset://base/v0"),
            "exclude": st.lists(paths().filter(lambda path: "[" not in path), max_size=2),
            "valohai.tags": st.lists(st.text(max_size=5), max_size=2),
        },
    )
    return st.one_of(uris(), said)


def metadata() -> st.SearchStrategy[dict[str, Any]]:
    """What a line or a sidecar says of one file."""
    properties = st.dictionaries(st.text(max_size=6).map("p{}".format), json_values(), max_size=3)
    versions = st.fixed_dictionaries(
        {}, optional={"valohai.dataset-versions": st.lists(entries(), max_size=3)}
    )
    return st.builds(lambda said, others: {**said, **others}, versions, properties)


def _without_clashes(drawn: Iterable[str]) -> list[str]:
    kept: set[str] = set()
    folders: set[str] = set()
    for path in drawn:
        parts = path.split("/")
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if path not in folders and not above & kept:
            kept.add(path)
            folders |= above
    return sorted(kept, key=str.encode)
