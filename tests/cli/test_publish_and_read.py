"""`publish`, `package`, `list`, `show`, `files`, `diff`, `alias`, `delete`, `gc`, `verify`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.cli.conftest import Run

V1, V2 = "dataset://pets/v1", "dataset://pets/v2"


@pytest.fixture
def two_versions(run: Run, store: str, pets: Path) -> str:
    """v1 packaged, under an alias; v2 from it with a file added, one changed, one left out."""
    done = run(
        "publish", pets, "--to", V1, "--packaging", "on", "--alias", "prod", "--store", store
    )
    assert done.code == 0, done.err
    changes = pets.parent / "changes"
    (changes / "cats").mkdir(parents=True)
    (changes / "cats" / "1.txt").write_text("I changed\n")
    (changes / "cats" / "new.txt").write_text("I am new\n")
    options = ("--from", "dataset://pets/prod", "--exclude", "dogs/**", "--packaging", "on")
    done = run("publish", changes, "--to", V2, *options, "--store", store)
    assert done.code == 0, done.err
    return store


def test_publish_says_what_was_made(run: Run, store: str, pets: Path) -> None:
    done = run("publish", pets, "--to", V1, "--packaging", "on", "--store", store)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{V1}  6 files, 78 B, 1 package\n"


def test_publish_json(run: Run, store: str, pets: Path) -> None:
    (version,) = run("publish", pets, "--to", V1, "--store", store, "--json").json["versions"]
    assert version["uri"] == V1
    assert (version["n_files"], version["n_bytes"], version["packages"]) == (6, 78, [])
    assert version["parent"] is None


def test_the_same_again_is_the_same_version(run: Run, store: str, pets: Path) -> None:
    command = ("publish", pets, "--to", V1, "--store", store, "--json")
    first, second = run(*command).json, run(*command).json
    assert first == second


def test_another_content_is_refused(run: Run, store: str, pets: Path) -> None:
    assert run("publish", pets, "--to", V1, "--store", store).code == 0
    (pets / "cats" / "1.txt").write_text("other")
    done = run("publish", pets, "--to", V1, "--store", store)
    assert done.code == 1
    assert V1 in done.err
    assert done.err.count("\n") == 1


def test_publish_by_metadata(run: Run, store: str, pets: Path) -> None:
    line = {
        "file": "cats/1.txt",
        "metadata": {"valohai.dataset-versions": [{"uri": V1, "packaging": True}]},
    }
    (pets / "valohai.metadata.jsonl").write_text(json.dumps(line) + "\n")
    (version,) = run("publish", pets, "--store", store, "--json").json["versions"]
    assert (version["uri"], version["n_files"], len(version["packages"])) == (V1, 1, 1)


def test_list(run: Run, two_versions: str) -> None:
    done = run("list", "--store", two_versions)
    assert [line.split()[:4] for line in done.out.splitlines()] == [
        ["DATASET", "VERSIONS", "LATEST", "FILES"],
        ["pets", "2", "v2", "5"],
    ]
    body = run("list", "--store", two_versions, "--json").json
    assert [(d["dataset"], d["n_versions"], d["latest"]["uri"]) for d in body["datasets"]] == [
        ("pets", 2, V2)
    ]


def test_list_of_an_empty_store(run: Run, store: str) -> None:
    done = run("list", "--store", store)
    assert done.code == 0
    assert done.out.startswith("no datasets in ")
    assert run("list", "--store", store, "--json").json["datasets"] == []


def test_list_versions(run: Run, two_versions: str) -> None:
    lines = run("list", "pets", "--store", two_versions).out.splitlines()
    assert [line.split()[0] for line in lines] == ["VERSION", "v1", "v2"]
    assert lines[1].endswith("prod")
    body = run("list", "pets", "--store", two_versions, "--json").json
    assert body["aliases"] == {"prod": "v1"}
    assert [version["uri"] for version in body["versions"]] == [V1, V2]


def test_show_follows_alias_and_latest(run: Run, two_versions: str) -> None:
    by_alias = run("show", "dataset://pets/prod", "--store", two_versions, "--json").json
    assert (by_alias["uri"], by_alias["aliases"]) == (V1, ["prod"])
    latest = run("show", "dataset://pets/latest", "--store", two_versions, "--json").json
    assert (latest["uri"], latest["parent"]) == (V2, V1)
    text = run("show", "dataset://pets/prod", "--store", two_versions).out
    assert "pets.v1.vhpkgzip" in text
    assert by_alias["digest"] in text


def test_files(run: Run, two_versions: str) -> None:
    lines = run("files", V2, "--store", two_versions).out.splitlines()
    paths = ["cats/1.txt", "cats/2.txt", "cats/deep/3.txt", "cats/new.txt", "größe.txt"]
    assert [line.split(maxsplit=3)[3] for line in lines] == paths
    command = ("files", V2, "--include", "**/*new*", "--store", two_versions, "--json")
    (row,) = [json.loads(line) for line in run(*command).out.splitlines()]
    assert (row["path"], row["size"]) == ("cats/new.txt", 9)


def test_names_that_the_terminal_cannot_write_are_shown(
    spawn: Run, run: Run, pets: Path, tmp_path: Path
) -> None:
    assert run("publish", pets, "--to", V1, "--store", tmp_path / "store").code == 0
    command = ("files", V1, "--include", "gr*", "--store", tmp_path / "store")
    done = spawn(*command, env={"PYTHONIOENCODING": "ascii"})
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("gr\\xf6\\xdfe.txt\n")


def test_files_tell_where_the_bytes_are(run: Run, store: str, pets: Path, tmp_path: Path) -> None:
    """The offset is that of the file's own bytes in the package."""
    assert run("publish", pets, "--to", V1, "--packaging", "on", "--store", store).code == 0
    rows = [
        json.loads(line) for line in run("files", V1, "--store", store, "--json").out.splitlines()
    ]
    assert {row["metadata"].__class__ for row in rows} == {dict}
    if "://" not in store:
        package = Path(store, rows[0]["package"])
        assert zipfile.ZipFile(package).testzip() is None
        for row in rows:
            stored = package.read_bytes()[row["offset"] :][: row["size"]]
            assert stored == (pets / row["path"]).read_bytes()


def test_diff(run: Run, two_versions: str) -> None:
    done = run("diff", V1, V2, "--store", two_versions)
    assert done.code == 0
    assert done.out.splitlines()[:-1] == [
        "~ cats/1.txt",
        "+ cats/new.txt",
        "- dogs/1.txt",
        "- dogs/2.txt",
    ]
    body = run("diff", V1, V2, "--store", two_versions, "--json").json
    assert (body["added"], body["changed"]) == (["cats/new.txt"], ["cats/1.txt"])
    assert (body["n_same"], body["n_new_bytes"]) == (3, 19)


def test_alias_moves(run: Run, two_versions: str) -> None:
    assert run("alias", V2, "prod", "--store", two_versions).out == (
        "dataset://pets/prod is dataset://pets/v2\n"
    )
    shown = run("show", "dataset://pets/prod", "--store", two_versions, "--json").json
    assert shown["uri"] == V2


def test_package_after_the_fact(run: Run, store: str, pets: Path) -> None:
    assert run("publish", pets, "--to", V1, "--store", store).code == 0
    before = run("show", V1, "--store", store, "--json").json
    done = run("package", V1, "--store", store)
    assert done.out == f"{V1}  6 files, 78 B, 1 package\n"
    after = run("show", V1, "--store", store, "--json").json
    assert after["digest"] == before["digest"]
    assert (len(before["packages"]), len(after["packages"])) == (0, 1)


def test_delete_says_and_does(run: Run, two_versions: str) -> None:
    said = run("delete", V1, "--store", two_versions)
    assert "would delete" in said.out
    assert "prod" in said.out
    assert V2 in said.out
    assert run("show", V1, "--store", two_versions).code == 0
    done = run("delete", V1, "--yes", "--store", two_versions, "--json").json
    assert (done["deleted"], done["aliases"], done["children"]) == (True, ["prod"], [V2])
    gone = run("show", V1, "--store", two_versions)
    assert (gone.code, gone.err.count("\n")) == (1, 1)
    assert run("verify", V2, "--deep", "--store", two_versions).code == 0


def test_garbage_younger_than_a_day_stays(run: Run, two_versions: str) -> None:
    assert run("delete", V1, "--yes", "--store", two_versions).code == 0
    done = run("gc", "--yes", "--store", two_versions, "--json").json
    assert (done["deleted"], done["keys"]) == (True, [])
    assert run("verify", V2, "--deep", "--store", two_versions).code == 0


def test_verify(run: Run, two_versions: str) -> None:
    assert run("verify", V1, "--store", two_versions).out == (
        f"{V1}: whole (6 files, sizes only; --deep reads every byte)\n"
    )
    body = run("verify", V1, "--deep", "--store", two_versions, "--json").json
    assert (body["is_whole"], body["faults"], body["n_bytes"]) == (True, [], 2 * 78)


def test_verify_finds_and_mends(run: Run, tmp_path: Path, pets: Path) -> None:
    store = tmp_path / "store"
    assert run("publish", pets, "--to", V1, "--packaging", "on", "--store", store).code == 0
    (single,) = store.glob("outputs/*/files/cats/1.txt")
    single.chmod(0o644)
    single.write_text("I am cats/7\n")
    assert run("verify", V1, "--store", store).code == 0, "the size is right"
    done = run("verify", V1, "--deep", "--store", store)
    assert done.code == 1
    assert "cats/1.txt" in done.out
    assert run("verify", V1, "--deep", "--repair", "--store", store).code == 0
    assert single.read_text() == "I am cats/1\n"
    assert run("verify", V1, "--deep", "--store", store).code == 0


def test_the_environment_names_the_store(
    run: Run, store: str, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("publish", pets, "--to", V1, "--store", store).code == 0
    monkeypatch.setenv("PREFECT_DATASETS_STORE", store)
    assert run("list", "--json").json["datasets"][0]["dataset"] == "pets"


def test_the_packages_alone_can_be_stored(pets: Path, store: str, run: Run) -> None:
    """`--individual-files off` leaves the files out of the store, not out of the version."""
    options = ("--packaging", "on", "--individual-files", "off", "--store", store)
    assert run("publish", pets, "--to", V1, *options).code == 0
    lines = run("files", V1, "--store", store, "--json").out.splitlines()
    assert {json.loads(line)["url"] for line in lines} == {None}
    assert run("verify", V1, "--deep", "--store", store).code == 0
