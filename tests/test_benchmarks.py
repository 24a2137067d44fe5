"""The benchmark's machinery on a handful of files: what it reports, and what it notices."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks import resolvers, scenarios
from benchmarks.__main__ import main, outcome_of
from benchmarks.contender import Contender, Setting
from benchmarks.files import Shape, digest_of, linked, next_version, write_originals
from benchmarks.goals import reached
from benchmarks.links import Network
from benchmarks.picture import picture
from benchmarks.play import Player, Scenario
from benchmarks.report import tables
from benchmarks.results import Entry, Outcome, Results
from benchmarks.stage import Need, Stage, staged
from tests.servers.process import MissingServerError, program

NEED = Need(Shape(50, 1000), has_files=True)
OURS = resolvers.resolve()
WRONG = Contender("wrong", lambda s: f"mkdir {s.target} && echo x >{s.target}/y", makes="files")
FAILS = Contender("fails", lambda _: "echo no such thing >&2; exit 3")
ABSENT = Contender("absent", lambda _: "true", needs=("no-such-program",))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    try:
        program("weed")
    except MissingServerError as error:
        pytest.skip(str(error))
    with staged(NEED, Network(), tmp_path_factory.mktemp("bench"), {}) as made:
        yield made


def played(stage: Stage, folder: Path, *contenders: Contender) -> tuple[Outcome, Results]:
    scenario = Scenario("tiny-resolve-folders", "From nothing", NEED, contenders, rounds=1)
    results = Results.read(folder / "results.json")
    results.scenarios[scenario.name] = outcome = outcome_of(scenario, stage)
    Player(scenario, stage, results, outcome).play()
    return outcome, results


def test_ours_is_measured_with_all_that_is_reported(stage: Stage, tmp_path: Path) -> None:
    copied = Contender("a copy", lambda s: f"cp -r {s.files.root} {s.target}", makes="files")
    outcome, results = played(stage, tmp_path, OURS, copied)
    (run,) = outcome["contenders"][OURS.name]["runs"]
    assert run["seconds"] > 0
    assert run["cpu_seconds"] > 0
    assert run["peak_bytes"] > 10_000_000
    assert 2 <= run["requests"] < 20
    assert run["facts"]["fetched_bytes"] > 50_000
    (text,) = tables(results)
    assert f"| {OURS.name} | " in text
    assert "| a copy | " in text
    assert "a copy" in picture(results)
    assert "not measured" in reached(results)
    assert Results.read(tmp_path / "results.json").is_complete("tiny-resolve-folders")


def test_wrong_bytes_are_noticed(stage: Stage, tmp_path: Path) -> None:
    outcome, results = played(stage, tmp_path, OURS, WRONG)
    assert "other files than the originals" in outcome["contenders"]["wrong"]["fault"]
    assert not outcome["contenders"]["wrong"]["runs"]
    assert "| wrong |" not in tables(results)[0]
    assert "- wrong: " in tables(results)[0]


def test_a_contender_that_fails_is_named_with_what_it_said(stage: Stage, tmp_path: Path) -> None:
    outcome, _ = played(stage, tmp_path, OURS, FAILS)
    assert "no such thing" in outcome["contenders"]["fails"]["fault"]
    assert outcome["contenders"][OURS.name]["runs"]


def test_a_missing_tool_is_named(stage: Stage, tmp_path: Path) -> None:
    outcome, results = played(stage, tmp_path, OURS, ABSENT)
    assert outcome["contenders"]["absent"]["fault"] == "not installed: no-such-program"
    assert "not installed: no-such-program" in tables(results)[0]


def play_samples(stage: Stage, tmp_path: Path, seconds: str) -> tuple[Entry, Results]:
    """Play what runs on 5 and on 10 files and takes `seconds`, given `n` files, beside copying."""

    def command(s: Setting) -> str:
        return f"cp -r {s.files.root} {s.target} && n={s.files.n_files} && sleep {seconds}"

    sampled = Contender("s", command, "files", is_sampled=True)
    scenario = Scenario("x", "From nothing", NEED, (OURS, sampled), rounds=1, samples=(5, 10))
    root = tmp_path / uuid4().hex
    stage.samples = {n: linked(stage.setting.files.root, root / str(n), n) for n in (5, 10)}
    results = Results.read(tmp_path / "results.json")
    results.scenarios["x"] = outcome = outcome_of(scenario, stage)
    Player(scenario, stage, results, outcome).play()
    stage.samples = {}
    return outcome["contenders"]["s"], results


def test_samples_are_extrapolated(stage: Stage, tmp_path: Path) -> None:
    entry, _ = play_samples(stage, tmp_path, "0.$n")  # 0.5 and 0.10
    assert entry["fault"] == "10 files took no longer than 5"
    entry, results = play_samples(stage, tmp_path, "$((n / 5))")
    assert (entry["fault"], entry["sampled"]) == ("", [5, 10])
    assert "¹" in tables(results)[0]


def test_the_next_version_differs_as_it_is_said_to(tmp_path: Path) -> None:
    old = write_originals(tmp_path / "v1", Shape(200, 100))
    new, n_bytes = next_version(old.root, tmp_path / "v2")
    assert (new.n_files, n_bytes) == (old.n_files, 4 * 100)
    before = {p.relative_to(old.root) for p in old.root.rglob("*") if p.is_file()}
    after = {p.relative_to(new.root) for p in new.root.rglob("*") if p.is_file()}
    assert len(before - after) == 2 + 10
    assert len(after - before) == 2 + 10
    assert digest_of(old.root) == old.digest


def test_every_mode_has_scenarios_of_its_own() -> None:
    names = [s.name for s in (*scenarios.full(), *scenarios.small(), *scenarios.tiny())]
    assert len(names) == len(set(names))


def test_an_unknown_scenario_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no such scenario: nonsense"):
        main(["--only", "nonsense", "--out", str(tmp_path)])
