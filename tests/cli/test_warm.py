"""A resolve from the cache by the short way: it says what the general way says, or leaves it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.cli import warm
from prefect_datasets.core import small_json
from prefect_datasets.core.cache import leases
from tests.cli.conftest import Run

V1 = "dataset://pets/v1"
GENERAL = ("--link", "symlink")  # the default, written out: the short way does not read it

# What takes longer to import than the whole of a resolve from the cache.
COSTLY = (
    "argparse",
    "dataclasses",
    "enum",
    "hashlib",
    "inspect",
    "json",
    "pathlib",
    "re",
    "typing",
)


@pytest.fixture
def published(run: Run, store: str, pets: Path) -> str:
    """A store whose one version lies in the cache."""
    assert run("publish", pets, "--to", V1, "--packaging", "on", "--store", store).code == 0
    assert run("resolve", V1, "--store", store).code == 0
    return store


def folder(run: Run, store: str) -> Path:
    return Path(run("resolve", V1, "--store", store, *GENERAL).out.strip()).parent


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_both_ways_print_the_same(
    run: Run, published: str, capfd: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    general = run("resolve", V1, "--store", published, *more, *GENERAL)
    assert warm.answer(["resolve", V1, "--store", published, *more])
    assert capfd.readouterr().out == general.out
    assert not warm.answer(["resolve", V1, "--store", published, *more, *GENERAL])


def test_both_ways_make_the_same_link(run: Run, published: str, tmp_path: Path) -> None:
    run("resolve", V1, "--store", published, "--to", "general", *GENERAL)
    assert warm.answer(["resolve", V1, f"--store={published}", "--to", "short"])
    assert (tmp_path / "short").readlink() == (tmp_path / "general").readlink()
    assert not warm.answer(["resolve", V1, "--store", published, "--to", "short"])
    assert not warm.answer(["resolve", V1, "--store", published, "--to", "new/folder"])
    assert run("resolve", V1, "--store", published, "--to", "./new/folder").out == "new/folder\n"


def test_it_holds_the_tree_as_long(run: Run, published: str) -> None:
    there = folder(run, published) / "leases"
    (lease,) = there.iterdir()
    said = json.loads(lease.read_bytes())
    lease.unlink()
    assert warm.answer(["resolve", V1, "--store", published])
    assert [path.name for path in there.iterdir()] == [lease.name]
    now = json.loads(lease.read_bytes())
    assert now | {"until": 0} == said | {"until": 0}
    assert said["until"] <= now["until"] <= time.time() + warm.IN_USE_SECONDS
    assert leases.is_live(lease)


def test_it_marks_the_tree_as_used(run: Run, published: str) -> None:
    ready = folder(run, published) / "ready"
    os.utime(ready, (1, 1))
    assert warm.answer(["resolve", V1, "--store", published])
    assert ready.stat().st_mtime > 1


def test_it_imports_nothing_that_takes_time(published: str) -> None:
    code = "import sys; before = set(sys.modules); from prefect_datasets.cli import main; "
    code += "assert main(sys.argv[1:]) == 0; print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code, "resolve", V1, "--store", published],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    imported = done.stdout.splitlines()[-1].split()
    assert "prefect_datasets.core.cache.hit" in imported
    assert not {*COSTLY} & {*imported}
    assert len(imported) < 20, imported


@pytest.mark.parametrize(
    "asked",
    [
        [],
        ["list"],
        ["resolve"],
        ["resolve", "--help"],
        ["resolve", V1, V1],
        ["resolve", V1, "--store"],
        ["resolve", V1, "--store", "--json"],
        ["resolve", V1, "--store", "a-saved-block"],
        ["resolve", "dataset://pets/latest"],
        ["resolve", "dataset://pets"],
        ["resolve", "dataset://pets/v1/x"],
        ["resolve", "dataset://../v1"],
        ["resolve", "dataset://pets/.."],
        ["resolve", "datum://x"],
        ["resolve", V1, "--shard", "0/2"],
        ["resolve", V1, "--include", "*"],
    ],
)
def test_what_is_written_otherwise_is_left(published: str, asked: list[str]) -> None:
    if len(asked) == 2 and asked[1].startswith("dataset:"):
        asked = [*asked, "--store", published]
    assert not warm.answer(asked)


def test_a_default_block_may_be_meant(
    run: Run, published: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PREFECT_DATASETS_STORE", published)
    assert warm.answer(["resolve", V1])
    Path("prefect.toml").write_text('[api]\nurl = "http://127.0.0.1:9/api"\n')
    assert not warm.answer(["resolve", V1])
    assert run("resolve", V1).code == 1  # that API is asked


@pytest.mark.parametrize("what", ["ready", "files", "leases", "told", "pointer"])
def test_what_is_not_there_is_left(run: Run, published: str, what: str) -> None:
    """And the general way makes it good, where it can."""
    there = folder(run, published)
    cache = there.parents[2]
    match what:
        case "ready":
            (there / "ready").unlink()
        case "files":
            (there / "files").rename(there / "elsewhere")
        case "leases":
            shutil.rmtree(there / "leases")
        case "told":
            said = json.loads((there / "ready").read_bytes())
            said.pop("n_files")
            (there / "ready").write_text(json.dumps(said))
        case _:
            shutil.rmtree(cache / "pointers")
    assert not warm.answer(["resolve", V1, "--store", published])
    assert run("resolve", V1, "--store", published).code == 0


def test_a_working_directory_that_is_gone_is_left(
    published: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert not warm.answer(["resolve", V1, "--store", published, "--cache-dir", "cache"])
    assert warm.answer(["resolve", V1, "--store", published])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prefect.toml", 'api = "prefect"'),
        ("pyproject.toml", 'tool = "prefect"'),
        ("profiles.toml", 'active = ["prefect"]\nprofiles = "x"'),
    ],
)
def test_settings_of_another_form_say_nothing(
    published: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, text: str
) -> None:
    monkeypatch.setenv("PREFECT_DATASETS_STORE", published)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    Path(name).write_text(text)
    assert warm.answer(["resolve", V1])


def test_a_folder_that_is_a_store_is_looked_at(run: Run, pets: Path, tmp_path: Path) -> None:
    """A bucket's version never changes; a folder is deleted and filled anew."""
    store = tmp_path / "folder"
    assert run("publish", pets, "--to", V1, "--store", store).code == 0
    assert run("resolve", V1, "--store", store).code == 0
    assert warm.answer(["resolve", V1, "--store", str(store)])
    (store / "datasets/pets/v1.json").unlink()
    assert not warm.answer(["resolve", V1, "--store", str(store)])
    assert run("resolve", V1, "--store", store).code == 1


def test_after_a_boot_it_is_looked_at(run: Run, published: str) -> None:
    ready = folder(run, published) / "ready"
    said = json.loads(ready.read_bytes())
    ready.write_text(json.dumps(said | {"boot": "another"}))
    assert not warm.answer(["resolve", V1, "--store", published])
    assert run("resolve", V1, "--store", published).code == 0
    assert json.loads(ready.read_bytes()) == said
    assert warm.answer(["resolve", V1, "--store", published])


@pytest.mark.skipif(not leases.this_machine(), reason="this machine has no id")
def test_after_a_crash_of_the_machine_a_damaged_tree_is_fetched_anew(
    store: str, run: Run, pets: Path
) -> None:
    assert run("publish", pets, "--to", V1, "--packaging", "on", "--store", store).code == 0
    main = "import sys; from prefect_datasets.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", main, "resolve", V1, "--store", store]
    tree = Path(subprocess.check_output(command, text=True).strip())
    file = next(path for path in sorted(tree.rglob("*")) if path.is_file())
    content = file.read_bytes()
    for path in (tree.parent / "ready", *(tree.parent / "leases").iterdir()):
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"boot": "an earlier one"}))
    file.chmod(0o644)
    file.write_bytes(b"")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()) == tree
    assert file.read_bytes() == content


_values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.dictionaries(st.text(), _values))
def test_json_as_json_has_it(fields: dict[str, str | float | None]) -> None:
    text = small_json.dumps(fields)
    assert text == json.dumps(fields, ensure_ascii=False)
    if fields:
        assert small_json.dumps(fields, indent="  ") == json.dumps(
            fields, ensure_ascii=False, indent=2
        )
    assert small_json.loads(json.dumps(fields).encode()) == fields
    if not any("\ud800" <= c <= "\udfff" for c in text):
        assert small_json.loads(text.encode() + b"\n") == fields


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": }', b'{"a": 1} {}', b"\xff", b'{"a": "\n"}'])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (each says something else)
        small_json.loads(data)


def test_a_step_sees_nothing_of_how_we_start(spawn: Run, tmp_path: Path, store: str) -> None:
    """What numpy is told in our processes would slow down the step's own."""
    step = {"step": {"name": "say", "image": "python:3.11", "command": "env >&2; env"}}
    (tmp_path / "valohai.yaml").write_text(json.dumps([step]))
    done = spawn("run", "say", "-f", tmp_path / "valohai.yaml", "--store", store)
    assert done.code == 0, done.err
    assert "VH_" in done.out + done.err
    assert "OPENBLAS" not in done.out + done.err


def test_a_process_that_ends_at_once_has_said_all(spawn: Run, published: str) -> None:
    """Into a pipe, whose buffer the interpreter would have flushed at its end."""
    files = spawn("files", V1, "--store", published)
    assert files.code == 0, files.err
    assert len(files.out.splitlines()) > 1
    missing = spawn("show", "dataset://pets/v9", "--store", published)
    assert (missing.code, missing.err.count("\n")) == (1, 1)
