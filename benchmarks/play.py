"""Play a scenario: tune the rivals, then interleaved rounds, each run verified."""

from __future__ import annotations

import fcntl
import random
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.contender import Contender, Files, Setting
from benchmarks.files import digest_of
from benchmarks.links import LOOPBACK
from benchmarks.measure import FailedError, Measured
from benchmarks.results import Entry, Outcome, Results, Run
from benchmarks.stage import Need, Stage, remove

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Contenders that do the same work.

    Attributes:
        name: For `--only`.
        title: For tables.
        need: What has to be there.
        contenders: Who does it; the first is what others are compared with.
        rounds: How many.
        link: By way of loopback or of the delayed link.
        samples: How many files the two samples have.
        tunes_on: How many files suffice to choose a tuning.
    """

    name: str
    title: str
    need: Need
    contenders: tuple[Contender, ...]
    rounds: int = 3
    link: str = LOOPBACK
    samples: tuple[int, int] = (500, 3000)
    tunes_on: int = 3000


class WrongBytesError(FailedError):
    """What a contender made is not what it should have made."""


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Player:
    """Plays one scenario on its stage.

    Attributes:
        scenario: What is played.
        stage: Where.
        results: Where figures go.
        outcome: This scenario's.
        turn: A file to be locked while something is measured, on a machine that others measure on.
    """

    scenario: Scenario
    stage: Stage
    results: Results
    outcome: Outcome
    turn: Path | None = None

    def play(self) -> None:
        """Play all rounds."""
        there = [c for c in self.scenario.contenders if self._prepare(c)]
        order = random.Random(1)
        for number in range(self.scenario.rounds):
            for contender in order.sample(there, len(there)):
                if number < contender.rounds and not self._entry(contender)["fault"]:
                    self._try(contender, number)
                    self.results.save()
        remove(self.stage.setting.cache)
        self.outcome["is_complete"] = True
        self.results.save()

    def _prepare(self, contender: Contender) -> bool:
        """Enter a contender; tell whether it can be run."""
        entry = self._entry(contender)
        if missing := contender.missing():
            entry["fault"] = f"not installed: {', '.join(missing)}"
            say(f"  {contender.name}: {entry['fault']}")
            return False
        try:
            if contender.once is not None:
                for setting in self._settings(contender):
                    with taking_turns(self.turn):
                        self._run(contender.once(setting))
            self._tune(contender, entry)
        except FailedError as error:
            self._fail(contender, error)
            return False
        setting = replace(self._settings(contender)[-1], tuning=entry["tuning"])
        entry["ran"] = self._readable(contender.command(setting))
        return True

    def _tune(self, contender: Contender, entry: Entry) -> None:
        """Choose the fastest tuning; a single one needs no trial."""
        entry["tuning"] = contender.tunings[0] if contender.tunings else ""
        if len(contender.tunings) < 2:
            return
        files = self.stage.setting.files
        if contender.tunes_on_sample:
            sampled = entry["sampled"]
            files = self.stage.sample(sampled[0] if sampled else self.scenario.tunes_on)
        for tuning in contender.tunings:
            setting = replace(self.stage.setting, files=files, tuning=tuning)
            with taking_turns(self.turn):
                entry["tunings"][tuning] = self._measure(contender, setting)[0].seconds
        entry["tuning"] = min(entry["tunings"], key=entry["tunings"].__getitem__)

    def _try(self, contender: Contender, number: int) -> None:
        entry = self._entry(contender)
        try:
            with taking_turns(self.turn):
                runs = [
                    self._measure(contender, replace(setting, tuning=entry["tuning"]))
                    for setting in self._settings(contender)
                ]
            figures = [_run(number, measured, n, contender) for measured, n in runs]
            found = _extrapolated(figures, entry["sampled"], self.outcome["n_files"])
        except FailedError as error:
            self._fail(contender, error)
            return
        entry["runs"].append(found)
        say(f"  {found['seconds']:8.2f} s  {contender.name}")

    def _measure(self, contender: Contender, setting: Setting) -> tuple[Measured, int]:
        """Run once, from what it needs before to the look at what it made."""
        if contender.before is not None:
            self._run(contender.before(setting))
        with self.stage.server.bucket() if contender.uploads else nullcontext("") as bucket:
            begin = self.stage.server.n_requests()
            measured = self._run(contender.command(replace(setting, bucket=bucket)))
            n_requests = self.stage.server.n_requests() - begin
        check(setting, contender.makes)
        self.stage.clear()
        if not contender.keeps_cache:
            remove(setting.cache)
        return measured, n_requests

    def _settings(self, contender: Contender) -> list[Setting]:
        """Return with which files a contender runs: all, or one sample and then a larger one."""
        if not self._entry(contender)["sampled"]:
            return [self.stage.setting]
        samples = map(self.stage.sample, self._entry(contender)["sampled"])
        return [replace(self.stage.setting, files=files) for files in samples]

    def _entry(self, contender: Contender) -> Entry:
        n_files = self.stage.setting.files.n_files
        sampled = contender.is_sampled and n_files > self.scenario.samples[1]
        new: Entry = {
            "ran": "",
            "tunings": {},
            "tuning": "",
            "sampled": list(self.scenario.samples) if sampled else [],
            "is_limit": contender.is_limit,
            "fault": "",
            "runs": [],
        }
        return self.outcome["contenders"].setdefault(contender.name, new)

    def _run(self, command: str) -> Measured:
        return self.stage.run(command, self.scenario.link, timeout_seconds=900)

    def _fail(self, contender: Contender, error: FailedError) -> None:
        self.stage.clear()
        remove(self.stage.setting.cache)
        self._entry(contender)["fault"] = str(error)[:600]
        say(f"  {contender.name} failed: {error}")

    def _readable(self, command: str) -> str:
        """Shorten what differs from machine to machine."""
        names = {str(self.stage.root): "$ROOT", f"{Path(sys.executable).parent}/": ""}
        for long, short in names.items():
            command = command.replace(long, short)
        return command


def check(setting: Setting, makes: str) -> None:
    """Compare what was made with the originals by sha256.

    Raises:
        WrongBytesError: They differ.
    """
    expected: Files | None = {"files": setting.files, "new": setting.new}.get(makes)
    if expected is not None and digest_of(setting.target) != expected.digest:
        raise WrongBytesError("It made other files than the originals")


@contextmanager
def taking_turns(file: Path | None) -> Generator[None]:
    """Hold the lock on a file, if there is one."""
    if file is None:
        yield
        return
    with file.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _run(number: int, measured: Measured, n_requests: int, contender: Contender) -> Run:
    figures = asdict(measured)
    output = figures.pop("output")
    facts = contender.facts(output) if contender.facts is not None else {}
    return Run(round=number, requests=n_requests, facts=facts, **figures)


def _extrapolated(runs: list[Run], sampled: list[int], n_files: int) -> Run:
    """Return what all files take, from what two samples take; memory stays as measured.

    Raises:
        FailedError: The larger one was as quick as the smaller: nothing follows from them.
    """
    if not sampled:
        return runs[0]
    small, large = runs
    if large["seconds"] <= small["seconds"]:
        raise FailedError(f"{sampled[1]:,} files took no longer than {sampled[0]:,}")
    steps = (n_files - sampled[1]) / (sampled[1] - sampled[0])
    found = large.copy()
    for key in ("seconds", "cpu_seconds"):
        found[key] = large[key] + (large[key] - small[key]) * steps
    for key in ("peak_disk_bytes", "requests"):
        found[key] = round(large[key] + (large[key] - small[key]) * steps)
    return found
