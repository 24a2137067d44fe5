"""`resolve` and `cache`: folders on this machine, what they cost, what frees them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.servers.process import Served

V1, V2 = "dataset://pets/v1", "dataset://pets/v2"

# What a resolve from the cache must not pay for.
COSTLY = ("prefect", "pydantic", "pyarrow", "numpy", "fsspec", "s3fs", "botocore", "obstore")


@pytest.fixture
def published(run: Run, store: str, pets: Path) -> str:
    assert run("publish", pets, "--to", V1, "--packaging", "on", "--store", store).code == 0
    return store


def tree(root: Path) -> dict[str, bytes]:
    """Path and content of every file below `root`."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_prints_the_folder(run: Run, published: str, pets: Path) -> None:
    done = run("resolve", V1, "--store", published)
    assert (done.code, done.err) == (0, "")
    folder = Path(done.out.removesuffix("\n"))
    assert tree(folder) == tree(pets)
    assert folder.is_relative_to(Path(os.environ["PREFECT_HOME"]) / "datasets" / "cache")


def test_json(run: Run, published: str) -> None:
    cold = run("resolve", "dataset://pets/latest", "--store", published, "--json").json
    warm = run("resolve", V1, "--store", published, "--json").json
    assert (cold["uri"], cold["n_files"], cold["n_bytes"]) == (V1, 6, 78)
    assert (cold["is_warm"], warm["is_warm"], warm["n_fetched_bytes"]) == (False, True, 0)
    assert cold["n_fetched_bytes"] > 78
    assert cold["path"] == warm["path"]


def test_cache_dir(run: Run, published: str, tmp_path: Path) -> None:
    done = run("resolve", V1, "--store", published, "--cache-dir", tmp_path / "elsewhere")
    assert done.out.startswith(str(tmp_path / "elsewhere"))


def test_to_makes_a_link(run: Run, published: str, pets: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "input"
    done = run("resolve", V1, "--to", target, "--store", published)
    assert (done.code, done.out) == (0, f"{target}\n")
    assert target.is_symlink()
    assert tree(target) == tree(pets)


@pytest.mark.parametrize("link", ["hardlink", "copy"])
def test_to_makes_a_folder(run: Run, published: str, pets: Path, tmp_path: Path, link: str) -> None:
    target = tmp_path / "input"
    assert run("resolve", V1, "--to", target, "--link", link, "--store", published).code == 0
    assert not target.is_symlink()
    assert tree(target) == tree(pets)
    if link == "copy":
        (target / "cats" / "1.txt").write_text("mine")
        again = Path(run("resolve", V1, "--store", published).out.removesuffix("\n"))
        assert (again / "cats" / "1.txt").read_bytes() == (pets / "cats" / "1.txt").read_bytes()


def test_to_a_folder_that_is_in_use_is_refused(run: Run, published: str, tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "mine").touch()
    done = run("resolve", V1, "--to", tmp_path / "input", "--store", published)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "input" in done.err
    assert tree(tmp_path / "input") == {"mine": b""}


def test_after_a_failure_there_is_no_folder(run: Run, published: str, tmp_path: Path) -> None:
    assert run("resolve", V2, "--to", tmp_path / "input", "--store", published).code == 1
    assert not (tmp_path / "input").exists()


def test_include(run: Run, published: str, tmp_path: Path) -> None:
    command = ("resolve", V1, "--include", "cats/*", "--include", "größe.txt")
    assert run(*command, "--to", tmp_path / "input", "--store", published).code == 0
    assert list(tree(tmp_path / "input")) == ["cats/1.txt", "cats/2.txt", "größe.txt"]


def test_shards_are_the_whole(run: Run, published: str, tmp_path: Path) -> None:
    shares: list[str] = []
    for number in range(3):
        target = tmp_path / str(number)
        command = ("resolve", V1, "--shard", f"{number}/3", "--to", target, "--store", published)
        assert run(*command).code == 0
        shares += tree(target)
    whole = Path(run("resolve", V1, "--store", published).out.removesuffix("\n"))
    assert sorted(shares) == sorted(tree(whole))


def test_flat(run: Run, published: str, tmp_path: Path) -> None:
    """Two files called 1.txt can't both be there."""
    target = tmp_path / "input"
    flat = ("--keep-directories", "none", "--to", target, "--store", published)
    done = run("resolve", V1, *flat)
    assert done.code == 1
    assert "cats/" in done.err
    assert "dogs/" in done.err
    assert not target.exists()
    assert run("resolve", V1, "--include", "cats/**", *flat).code == 0
    assert list(tree(target)) == ["1.txt", "2.txt", "3.txt"]


def test_a_plain_url(run: Run, pets: Path, tmp_path: Path) -> None:
    target = tmp_path / "input"
    assert run("resolve", f"file://{pets}/cats/*.txt", "--to", target).code == 0
    assert {Path(path).name for path in tree(target)} == {"1.txt", "2.txt"}


def test_cache_list_and_verify(run: Run, published: str) -> None:
    assert run("cache", "list", "--store", published).out.startswith("nothing cached in ")
    folder = Path(run("resolve", V1, "--store", published).out.removesuffix("\n"))
    (entry,) = run("cache", "list", "--store", published, "--json").json["entries"]
    assert (entry["uri"], entry["in_use"]) == (V1, True)
    assert run("cache", "verify", "--store", published).code == 0
    damaged = folder / "cats" / "1.txt"
    damaged.chmod(0o644)
    damaged.write_text("I am cats/7\n")
    done = run("cache", "verify", "--store", published)
    assert done.code == 1
    assert str(damaged) in done.out
    body = run("cache", "verify", "--store", published, "--json").json
    assert [fault["path"] for fault in body["faults"]] == ["cats/1.txt"]


def test_what_was_resolved_today_is_kept(run: Run, published: str) -> None:
    folder = Path(run("resolve", V1, "--store", published).out.removesuffix("\n"))
    pruned = run("cache", "prune", "--store", published, "--json").json
    assert (pruned["freed"], len(pruned["kept"])) == ([], 1)
    assert run("cache", "clear", "--store", published, "--json").json["in_use"]
    assert folder.is_dir()


def test_what_nobody_uses_is_freed(run: Run, spawn: Run, published: str) -> None:
    """By a process that has ended, more than a day ago as far as its lease says."""
    folder = Path(spawn("resolve", V1, "--store", published).out.removesuffix("\n"))
    for lease in (folder.parent / "leases").iterdir():
        lease.unlink()
    assert run("cache", "prune", "--max-bytes", "1G", "--store", published).code == 0
    assert folder.is_dir(), "there is room"
    pruned = run("cache", "prune", "--store", published, "--json").json
    assert [freed["uri"] for freed in pruned["freed"]] == [V1]
    assert not folder.exists()


def test_clear_tells_first(run: Run, spawn: Run, published: str) -> None:
    folder = Path(spawn("resolve", V1, "--store", published).out.removesuffix("\n"))
    in_use = run("cache", "clear", "--store", published, "--yes", "--json").json["in_use"]
    assert len(in_use) == 1
    for lease in (folder.parent / "leases").iterdir():
        lease.unlink()
    told = run("cache", "clear", "--store", published)
    assert told.out.splitlines()[-1] == "--yes does it"
    assert folder.is_dir()
    done = run("cache", "clear", "--store", published, "--yes")
    assert done.out.splitlines()[0] == told.out.splitlines()[0].replace("would free", "freed")
    assert not folder.exists()


@pytest.mark.parametrize("action", ["list", "prune", "verify", "clear"])
def test_a_file_is_no_cache(run: Run, tmp_path: Path, action: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = run("cache", action, "--cache-dir", tmp_path / "notes.txt")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "notes.txt" in done.err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_tree_of_a_newer_release_is_named(run: Run, published: str) -> None:
    folder = Path(run("resolve", V1, "--store", published).out.removesuffix("\n"))
    (folder.parent / "ready").write_text('{"format": 2}')
    done = run("resolve", V1, "--store", published)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "newer release" in done.err
    assert "made by a newer release" in run("cache", "list").out
    assert run("resolve", V1, "--store", published, "--cache-dir", "other").code == 0
    assert folder.is_dir()


def test_a_warm_resolve_imports_nothing_costly(run: Run, published: str) -> None:
    """By the general way: `test_warm` has the short one."""
    assert run("resolve", V1, "--store", published).code == 0
    command = ["resolve", V1, "--store", published, "--link", "hardlink", "--to", "linked"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "prefect_datasets", *command],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "prefect_datasets.core.resolve.inputs" in imported
    assert {name for name in imported if name.partition(".")[0] in COSTLY} == set()


@pytest.mark.parametrize("command", ["list", "show", "resolve"])
def test_what_only_reads_never_imports_prefect(run: Run, published: str, command: str) -> None:
    arguments = [command] if command == "list" else [command, V1]
    code = "import sys; from prefect_datasets.cli import main; assert main(sys.argv[1:]) == 0; "
    code += "assert not {'prefect', 'pydantic'} & set(sys.modules), 'imported'"
    subprocess.run(
        [sys.executable, "-c", code, *arguments, "--store", published],
        check=True,
        timeout=60,
    )


def test_a_warm_resolve_asks_no_store(
    run: Run, pets: Path, seaweedfs: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A version never changes: what is cached needs no answer."""
    store = f"{seaweedfs.url}/{tmp_path.name}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", str(seaweedfs.options["endpoint_url"]))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(seaweedfs.options["key"]))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(seaweedfs.options["secret"]))
    assert run("publish", pets, "--to", V1, "--store", store).code == 0
    first = run("resolve", V1, "--store", store)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong by now")
    second = run("resolve", V1, "--store", store)
    assert (first.code, second.code) == (0, 0)
    assert first.out == second.out
    assert run("show", V1, "--store", store).code == 1


def test_exit_is_clean_under_load(run: Run, spawn: Run, published: str) -> None:
    """A process that used Arrow ends with the code that it means, ten times of ten."""
    began = time.monotonic()
    codes = {spawn("verify", V1, "--deep", "--store", published).code for _ in range(10)}
    assert codes == {0}
    assert time.monotonic() - began < 60
