"""What is damaged, or of a newer release, is named; the rest goes on."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prefect_datasets.core.store import Store, open_store
from tests.cli.conftest import Run

V1, V2, V3 = (f"dataset://pets/v{n}" for n in (1, 2, 3))


@pytest.fixture
def three(run: Run, store: str, pets: Path) -> str:
    """Three versions, the alias `prod` of the first, and one version of another dataset."""
    for uri in (V1, V2, V3, "dataset://birds/v1"):
        (pets / "name.txt").write_text(uri)
        assert run("publish", pets, "--to", uri, "--store", store).code == 0
    assert run("alias", V1, "prod", "--store", store).code == 0
    return store


def truncate(store: Store, key: str) -> None:
    whole = store.read(key)
    store.write(key, whole[: len(whole) // 2])


def empty(store: Store, key: str) -> None:
    store.write(key, b"")


def make_newer(store: Store, key: str) -> None:
    """As a later release may write it: nothing but `format` is known."""
    store.write(key, json.dumps({"format": 2, "name": "?"}).encode())


damages = pytest.mark.parametrize("damage", [truncate, empty, make_newer])
Damage = Callable[[Store, str], None]


@damages
def test_list_shows_the_others(run: Run, three: str, damage: Damage) -> None:
    damage(open_store(three), "datasets/pets/v2.json")
    done = run("list", "pets", "--store", three)
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == ["v1", "v3"]
    assert done.err.startswith("warning: left out")
    assert done.err.count("\n") == done.err.count("datasets/pets/v2.json") == 1
    body = run("list", "pets", "--store", three, "--json").json
    assert [version["uri"] for version in body["versions"]] == [V1, V3]
    assert [each["key"] for each in body["unreadable"]] == ["datasets/pets/v2.json"]


@damages
def test_list_of_datasets_shows_the_others(run: Run, three: str, damage: Damage) -> None:
    damage(open_store(three), "datasets/birds/v1.json")
    damage(open_store(three), "datasets/pets/v1.json")
    done = run("list", "--store", three)
    assert [line.split()[:3] for line in done.out.splitlines()[1:]] == [["pets", "2", "v3"]]
    assert done.err.count("\n") == 2
    assert "datasets/birds/v1.json" in done.err
    done = run("list", "birds", "--store", three)
    assert (done.code, done.out) == (1, "")
    assert "datasets/birds/v1.json" in done.err


@damages
def test_latest_is_not_guessed(run: Run, three: str, damage: Damage) -> None:
    damage(open_store(three), "datasets/pets/v3.json")
    done = run("show", "dataset://pets/latest", "--store", three)
    assert done.code == 1
    assert "may be the latest" in done.err
    assert "datasets/pets/v3.json" in done.err
    assert run("show", V2, "--store", three).code == 0


def test_latest_does_not_mind_an_older_one(run: Run, pets: Path, tmp_path: Path) -> None:
    """Older by the store's clock, which is set here."""
    store = tmp_path / "store"
    for uri in (V1, V2):
        (pets / "name.txt").write_text(uri)
        assert run("publish", pets, "--to", uri, "--store", store).code == 0
    record = store / "datasets" / "pets" / "v1.json"
    record.chmod(0o644)
    record.write_bytes(b"")
    before = time.time() - 60
    os.utime(record, (before, before))
    done = run("show", "dataset://pets/latest", "--store", store, "--json")
    assert (done.code, done.json["uri"]) == (0, V2)


def test_a_damaged_alias_is_pointed_anew_as_the_hint_says(run: Run, three: str) -> None:
    empty(open_store(three), "datasets/pets/@prod.json")
    done = run("show", "dataset://pets/prod", "--store", three)
    assert done.code == 1
    assert "datasets/pets/@prod.json" in done.err
    hint = done.err.partition("`prefect-datasets ")[2].partition("`")[0].replace("VERSION", "v2")
    assert run(*shlex.split(hint), "--store", three).code == 0
    assert run("show", "dataset://pets/prod", "--store", three, "--json").json["uri"] == V2


@damages
def test_a_damaged_alias_is_in_nobodys_way(run: Run, three: str, damage: Damage) -> None:
    damage(open_store(three), "datasets/pets/@prod.json")
    for command in (["list", "pets"], ["show", V2], ["delete", V2]):
        done = run(*command, "--store", three)
        assert done.code == 0
        assert done.err.count("\n") == done.err.count("datasets/pets/@prod.json") == 1


@damages
def test_a_version_is_deleted_beside_a_damaged_one(run: Run, three: str, damage: Damage) -> None:
    damage(open_store(three), "datasets/pets/v2.json")
    done = run("delete", V1, "--yes", "--store", three)
    assert done.code == 0
    assert "datasets/pets/v2.json" in done.err
    assert run("show", V1, "--store", three).code == 1


@damages
@pytest.mark.parametrize("key", ["datasets/pets/v2.json", "datums/@the-cat.json"])
def test_nothing_is_garbage_as_long_as_one_cant_be_read(
    run: Run, three: str, damage: Damage, key: str
) -> None:
    """What it names would be deleted."""
    store = open_store(three)
    store.write("datums/@the-cat.json", b'{"format": 1, "target": "0", "updated": ""}')
    assert run("gc", "--store", three).code == 0, "an alias of what is gone is in nobody's way"
    damage(store, key)
    done = run("gc", "--yes", "--store", three)
    assert done.code == 1
    assert key in done.err
