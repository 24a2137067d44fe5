"""`publish URL`: objects that lie in a store already."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_datasets.core.store import Store, open_store
from tests.cli.conftest import Run

V1 = "dataset://pets/v1"


@pytest.fixture
def raw(fresh_prefix: str) -> Store:
    store = open_store(f"memory://{fresh_prefix}/raw")
    store.write_many([(path, path.encode()) for path in ("cats/1.txt", "cats/2.png", "dogs/1.txt")])
    return store


def test_all_objects_below_a_prefix(run: Run, raw: Store, tmp_path: Path) -> None:
    command = ("publish", raw.url, "--to", V1, "--packaging", "on", "--store", tmp_path / "store")
    done = run(*command, "--alias", "prod")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{V1}  3 files, 30 B, 1 package\n"
    tree = Path(run("resolve", "dataset://pets/prod", "--store", tmp_path / "store").out.strip())
    assert (tree / "cats/1.txt").read_text() == "cats/1.txt"


def test_those_that_match(run: Run, raw: Store, tmp_path: Path) -> None:
    store = ("--store", tmp_path / "store", "--json")
    (one,) = run("publish", f"{raw.url}/**.txt", "--to", V1, *store).json["versions"]
    again = run("publish", raw.url, "--include", "**/*.txt", "--to", V1, *store).json["versions"]
    assert one["n_files"] == 2
    assert again == [one]


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("https://example.com/files", (), "Not the URL of a prefix"),
        ("dataset://pets/v0", (), "Not the URL of a prefix"),
        ("s3://", (), "Not the URL of a prefix"),
        ("s3://*/raw", (), "A pattern can't name the bucket"),
        ("memory://nothing/here", (), "No objects lie below the prefix"),
        ("file:///data", (), "A folder is no prefix"),
        (".", ("--include", "*.txt"), "--include chooses among the objects below a URL"),
        ("s3://bucket/**", ("--include", "*.txt"), "others are given besides"),
    ],
)
def test_what_is_no_prefix(
    run: Run, tmp_path: Path, source: str, options: tuple[str, ...], said: str
) -> None:
    done = run("publish", source, "--to", V1, "--store", tmp_path / "store", *options)
    assert done.code == 1
    assert said in done.err
    assert done.err.count("\n") == 1


def test_names_that_can_not_be_published_are_all_told(run: Run, raw: Store, tmp_path: Path) -> None:
    raw.write_many([("a\tb", b""), (f"long/{'x' * 1000}", b"")])
    done = run("publish", raw.url, "--to", V1, "--store", tmp_path / "store")
    assert done.code == 1
    first, *faults = done.err.splitlines()
    assert "Some names can't be published" in first
    assert [line.strip() for line in faults] == [
        "'a\\tb': its name has a control character",
        f"'long/{'x' * 1000}': its path has more than 900 bytes",
    ]
    assert not (tmp_path / "store").exists()
    rest = run("publish", f"{raw.url}/dogs/**", "--to", V1, "--store", tmp_path / "store")
    assert rest.code == 0, "what is not asked for may have any name"
