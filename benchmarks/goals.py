"""Each line of the design's goals beside what was reached, from the raw figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks import publishers as pub
from benchmarks import resolvers as res
from benchmarks import versions as ver
from benchmarks.results import Results, fact, median

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Reached:
    """What was reached.

    Attributes:
        text: For the table.
        is_met: Whether that is the goal.
    """

    text: str
    is_met: bool


@dataclass(frozen=True, slots=True)
class Goal:
    """A line of the goals.

    Attributes:
        work: What is to be done, against what.
        goal: What it must reach, in words.
        reached: What was reached; None without figures.
    """

    work: str
    goal: str
    reached: Callable[[Results], Reached | None]


def reached(results: Results) -> str:
    """Write the table."""
    is_full = any(not name.startswith(("small-", "tiny-")) for name in results.scenarios)
    rows = ["| work | goal | reached | |", "|---|---|---|---|"]
    for goal in GOALS:
        found = goal.reached(results)
        text = found.text if found else NOT_MEASURED
        mark = ("yes" if found.is_met else "**no**") if found and is_full else ""
        rows.append(f"| {goal.work} | {goal.goal} | {text} | {mark} |")
    return "\n".join(["## Goals", "", *rows, *_smaller(results)])


def _smaller(results: Results) -> list[str]:
    """Say which scenarios had fewer files than the goals speak of."""
    found = [
        f"`{name}` ({outcome['n_files']:,})"
        for name, outcome in results.scenarios.items()
        if outcome["n_files"] < 100_000 and not name.startswith(("shape", "grow", "resolve-disk"))
    ]
    return (
        ["", f"With fewer files than the 100,000 of the goals: {', '.join(found)}."]
        if found
        else []
    )


def faster(scenario: str, other: str, times: float) -> Callable[[Results], Reached | None]:
    """Return how many times as long as ours another takes, at least `times`."""

    def find(results: Results) -> Reached | None:
        ratios = _ratios(results, scenario, other)
        return (
            Reached(f"{_spread(ratios)} x", statistics.median(ratios) >= times) if ratios else None
        )

    return find


def within(scenario: str, other: str, times: float) -> Callable[[Results], Reached | None]:
    """Return how many times as long as another ours takes, at most `times`."""

    def find(results: Results) -> Reached | None:
        ratios = [1 / ratio for ratio in _ratios(results, scenario, other)]
        return (
            Reached(f"{_spread(ratios)} x", statistics.median(ratios) <= times) if ratios else None
        )

    return find


def within_limits(scenario: str, times: float) -> Callable[[Results], Reached | None]:
    """Return how many times as long as both limits one after the other ours takes."""

    def find(results: Results) -> Reached | None:
        both = zip(
            _ratios(results, scenario, res.BYTES),
            _ratios(results, scenario, res.FILES),
            strict=False,
        )
        ratios = [1 / (one + other) for one, other in both]
        return (
            Reached(f"{_spread(ratios)} x", statistics.median(ratios) <= times) if ratios else None
        )

    return find


def frugal(scenario: str, megabytes: float) -> Callable[[Results], Reached | None]:
    """Return the peak of memory and what lay on disk beyond the files, of our baseline."""

    def find(results: Results) -> Reached | None:
        outcome = results.scenarios.get(_there(results, scenario))
        if outcome is None or not outcome["contenders"][outcome["baseline"]]["runs"]:
            return None
        runs = outcome["contenders"][outcome["baseline"]]["runs"]
        memory = max(run["peak_bytes"] for run in runs) / 1e6
        text = f"{memory:.0f} MB"
        if "resolve" in scenario:
            extra = max(run["peak_disk_bytes"] for run in runs) - outcome["disk_bytes"]
            text = f"{text}; {max(0, extra) / 1e6:.0f} MB of disk beyond the files"
        return Reached(text, memory <= megabytes)

    return find


def few_bytes(results: Results) -> Reached | None:
    """Return the bytes that a delta fetched as multiples of the bytes that are new."""
    scenario = _there(results, "delta")
    entry = results.entry(scenario, ver.DELTA)
    if entry is None:
        return None
    n_new, n_fetched = results.scenarios[scenario]["new_bytes"], fact(entry, "fetched_bytes")
    text = f"{n_fetched / n_new:.2f} x ({n_fetched / 1e6:.1f} of {n_new / 1e6:.1f} MB)"
    return Reached(text, n_fetched <= 2 * n_new)


def warm(scenario: str) -> Callable[[Results], Reached | None]:
    """Return the time of a warm resolve, in the engine and beyond the interpreter's start."""

    def find(results: Results) -> Reached | None:
        name = _there(results, scenario)
        engine, line = results.entry(name, ver.ENGINE), results.entry(name, ver.WARM)
        start = results.entry(name, ver.PASS)
        if engine is None or line is None or start is None:
            return None
        seconds, spent = fact(engine, "engine_seconds"), median(line, "seconds")
        text = f"{seconds * 1000:.1f} ms; {spent * 1000:.0f} ms, of which the interpreter "
        text += f"{median(start, 'seconds') * 1000:.0f} ms"
        return Reached(text, seconds <= 0.020)

    return find


def growth(kind: str, baseline: str) -> Callable[[Results], Reached | None]:
    """Return the time per file of a million files as a multiple of that of 100,000."""

    def find(results: Results) -> Reached | None:
        few = results.entry(f"grow-100k-{kind}", baseline)
        many = results.entry(f"grow-1m-{kind}", baseline)
        if few is None or many is None:
            return None
        ratio = median(many, "seconds") / median(few, "seconds") / 10
        return Reached(f"{ratio:.2f} x", ratio <= 1.3)

    return find


def _ratios(results: Results, scenario: str, other: str) -> list[float]:
    name = _there(results, scenario)
    return results.ratios(name, other) if name in results.scenarios else []


def _there(results: Results, scenario: str) -> str:
    """Return the scenario's name, or that of its small sister where only that was played."""
    names = (scenario, f"small-{scenario}", f"tiny-{scenario}")
    return next((name for name in names if name in results.scenarios), scenario)


def _spread(values: Iterable[float]) -> str:
    found = sorted(values)
    middle = f"{statistics.median(found):.3g}"
    return middle if len(found) == 1 else f"{middle} [{found[0]:.3g}, {found[-1]:.3g}]"


_HERE, _FAR, _FLAT = "resolve-folders", "resolve-folders-delayed", "resolve-flat"
GOALS = (
    Goal("resolve, against s5cmd per file", "12 x faster", faster(_HERE, res.S5CMD, 12)),
    Goal("... against rclone per file", "12 x", faster(_HERE, res.RCLONE, 12)),
    Goal("... against s3fs", "50 x", faster(_HERE, res.S3FS, 50)),
    Goal("... against a loop", "150 x", faster(_HERE, res.LOOP, 150)),
    Goal("... against `s5cmd cat \\| bsdtar x`", "1.5 x", faster(_HERE, res.PIPE, 1.5)),
    Goal("... against bytes alone + files alone", "within 1.5 x", within_limits(_HERE, 1.5)),
    Goal("... peak memory, extra disk", "500 MB, none", frugal(_HERE, 500)),
    Goal("behind 20 ms, against s5cmd per file", "15 x", faster(_FAR, res.S5CMD, 15)),
    Goal("... against rclone per file", "15 x", faster(_FAR, res.RCLONE, 15)),
    Goal("... against s3fs", "40 x", faster(_FAR, res.S3FS, 40)),
    Goal("... against a loop", "1,000 x", faster(_FAR, res.LOOP, 1000)),
    Goal("... against `s5cmd cat \\| bsdtar x`", "1.5 x", faster(_FAR, res.PIPE, 1.5)),
    Goal("... against bytes alone + files alone", "within 1.5 x", within_limits(_FAR, 1.5)),
    Goal("one flat folder, against s5cmd per file", "12 x", faster(_FLAT, res.S5CMD, 12)),
    Goal("... against `s5cmd cat \\| bsdtar x`", "1.5 x", faster(_FLAT, res.PIPE, 1.5)),
    Goal("... against bytes alone + files alone", "within 1.5 x", within_limits(_FLAT, 1.5)),
    Goal("v2, v1 cached: bytes fetched", "2 x the changed", few_bytes),
    Goal("... against v1 cold, loopback", "4 x faster", faster("delta", ver.COLD, 4)),
    Goal("... against v1 cold, behind 20 ms", "8 x faster", faster("delta-delayed", ver.COLD, 8)),
    Goal("... against `cp -al` of the tree", "within 2 x", within("delta", ver.LINKS, 2)),
    Goal("warm resolve, 100,000 files", "20 ms in the engine", warm("warm")),
    Goal("warm resolve, 1,000,000 files", "20 ms in the engine", warm("grow-1m-resolve")),
    Goal("pack, against `zip -0`", "3 x faster", faster("pack", pub.ZIP, 3)),
    Goal("... against `zipfile`", "3 x faster", faster("pack", pub.ZIPFILE, 3)),
    Goal(
        "publish with individual files, against s5cmd uploading them",
        "no slower",
        faster("publish", pub.S5CMD_FILES, 1),
    ),
    Goal(
        "packages alone, against s5cmd uploading one file of that size",
        "within 1.3 x",
        within("packages", pub.S5CMD_ONE, 1.3),
    ),
    Goal("1,000,000 files, publish: memory", "500 MB", frugal("grow-1m-publish", 500)),
    Goal(
        "... time per file, against 100,000",
        "within 1.3 x",
        growth("publish", pub.PUBLISH_PACKAGES),
    ),
    Goal("1,000,000 files, resolve: memory", "500 MB", frugal("grow-1m-resolve", 500)),
    Goal("... time per file, against 100,000", "within 1.3 x", growth("resolve", res.RESOLVE)),
)
