"""Tables, and everything else that is written from the raw figures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.goals import reached
from benchmarks.picture import picture
from benchmarks.results import Entry, Outcome, Results, fact, median

_HEAD = (
    "| | seconds | times ours | requests | CPU s | memory MB | disk MB |",
    "|---|---:|---:|---:|---:|---:|---:|",
)


def write_reports(results: Results, folder: Path) -> str:
    """Write `tables.md` and `ratios.svg` beside the raw figures; return what to print."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n\n".join([machine(results), reached(results), *tables(results), commands(results)])
    (folder / "tables.md").write_text("# Figures of the last run\n\n" + text + "\n")
    (folder / "ratios.svg").write_text(picture(results))
    return "\n\n".join([reached(results), *tables(results)])


def machine(results: Results) -> str:
    """Write what the figures were measured on."""
    about = results.about
    host = ", ".join(str(value) for value in about.get("machine", {}).values())
    versions = "; ".join(f"{name} {text}" for name, text in about.get("versions", {}).items())
    return (
        "Made by `python -m benchmarks report` from `results.json`.\n\n"
        f"Machine (processor, cores, GB of memory, kernel, system, Python): {host}.\n\n"
        f"Versions: {versions}."
    )


def tables(results: Results) -> list[str]:
    """Write a table for each scenario."""
    return [_table(name, outcome, results) for name, outcome in results.scenarios.items()]


def commands(results: Results) -> str:
    """Write what each contender ran, to the letter."""
    ran: dict[str, str] = {}
    for outcome in results.scenarios.values():
        for name, entry in outcome["contenders"].items():
            if entry["ran"]:
                ran.setdefault(name, entry["ran"])
    lines = [f"- {name}:\n  `{command}`" for name, command in ran.items()]
    intro = (
        "`$ROOT` is a folder on a memory file system; the knob's value is the fastest one tried."
    )
    return "\n".join(["## What ran", "", intro, "", *lines])


def _table(name: str, outcome: Outcome, results: Results) -> str:
    title = f"## {outcome['title']}: {outcome['shape']}"
    there = outcome["contenders"]
    rows = [
        _row(key, entry, outcome, results.ratios(name, key))
        for key, entry in sorted(there.items(), key=lambda item: _rank(item[1], outcome, item[0]))
        if entry["runs"]
    ]
    notes = [f"- {key}: {entry['fault']}" for key, entry in there.items() if entry["fault"]]
    notes += [f"- {key}: {said}" for key, entry in there.items() if (said := _facts(entry))]
    if any(entry["sampled"] for entry in there.values()):
        few, more = next(entry["sampled"] for entry in there.values() if entry["sampled"])
        notes.append(f"- ¹ extrapolated from {few:,} and {more:,} of the files")
    where = f"`{name}`, commit {outcome['commit']}, {outcome['date']}"
    return "\n".join([title, "", where, "", *_HEAD, *rows, *(["", *notes] if notes else [])])


def _facts(entry: Entry) -> str:
    """Write what a contender said of itself."""
    if not entry["runs"] or not entry["runs"][0]["facts"]:
        return ""
    if "engine_seconds" in entry["runs"][0]["facts"]:
        return f"{fact(entry, 'engine_seconds') * 1000:.2f} ms in a process that has started"
    n_bytes, n_linked = fact(entry, "fetched_bytes"), fact(entry, "linked_files")
    return f"{n_bytes / 1e6:,.1f} MB fetched, tables included; {n_linked:,.0f} files linked"


def _rank(entry: Entry, outcome: Outcome, name: str) -> tuple[bool, bool, float]:
    """Ours, then limits, then the others from fast to slow."""
    seconds = median(entry, "seconds") if entry["runs"] else 0.0
    return name != outcome["baseline"], not entry["is_limit"], seconds


def _row(name: str, entry: Entry, outcome: Outcome, ratios: Sequence[float]) -> str:
    mark = "¹" if entry["sampled"] else ""
    made = outcome["disk_bytes"] if outcome["title"].startswith("From nothing") else 0
    extra = max(0, max(run["peak_disk_bytes"] for run in entry["runs"]) - made)
    cells = (
        name.replace("|", "\\|") + mark,
        f"{median(entry, 'seconds'):.2f}",
        "" if name == outcome["baseline"] else spread(ratios),
        f"{median(entry, 'requests'):,.0f}",
        f"{median(entry, 'cpu_seconds'):.1f}",
        f"{max(run['peak_bytes'] for run in entry['runs']) / 1e6:.0f}",
        f"{extra / 1e6:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def spread(ratios: Sequence[float]) -> str:
    """Write a ratio's median, and least and most where there is more than one."""
    if not ratios:
        return ""
    middle = figure(statistics.median(ratios))
    if len(ratios) == 1:
        return middle
    return f"{middle} [{figure(min(ratios))}, {figure(max(ratios))}]"


def figure(ratio: float) -> str:
    """Write a ratio with as many digits as mean something."""
    return f"{ratio:,.0f}" if ratio >= 20 else f"{ratio:.1f}" if ratio >= 3 else f"{ratio:.2f}"
