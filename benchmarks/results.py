"""Raw figures in a JSON file, written after each round, so that a run can be gone on with."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict


class Run(TypedDict):
    """One run of one contender; what follows from samples is extrapolated."""

    round: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    peak_disk_bytes: int
    requests: int
    facts: dict[str, float]


class Entry(TypedDict):
    """A contender in a scenario; `fault` says why it has no (more) runs."""

    ran: str
    tunings: dict[str, float]
    tuning: str
    sampled: list[int]
    is_limit: bool
    fault: str
    runs: list[Run]


class Outcome(TypedDict):
    """A scenario: what was there, and its contenders in order."""

    title: str
    shape: str
    link: str
    baseline: str
    n_files: int
    n_bytes: int
    disk_bytes: int
    new_bytes: int
    commit: str
    date: str
    is_complete: bool
    contenders: dict[str, Entry]


@dataclass(slots=True)
class Results:
    """All that was measured.

    Attributes:
        path: The JSON file.
        scenarios: Outcomes by the scenario's name.
        about: The machine and all versions.
    """

    path: Path
    scenarios: dict[str, Outcome]
    about: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; one that is not there is empty."""
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return cls(path, found.get("scenarios", {}), found.get("about", {}))

    def save(self) -> None:
        """Replace the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        content = {"about": self.about, "scenarios": self.scenarios}
        beside.write_text(json.dumps(content, indent=1) + "\n")
        beside.replace(self.path)

    def is_complete(self, name: str) -> bool:
        """Tell whether the scenario was played to its end."""
        return name in self.scenarios and self.scenarios[name]["is_complete"]

    def entry(self, scenario: str, contender: str) -> Entry | None:
        """Return a contender's figures, if it has any."""
        found = self.scenarios.get(scenario)
        entry = found["contenders"].get(contender) if found else None
        return entry if entry and entry["runs"] else None

    def ratios(self, scenario: str, contender: str, to: str = "") -> list[float]:
        """Return how many times as long it took as another did in the same round.

        Args:
            scenario: Where.
            contender: Who.
            to: The other; the scenario's baseline if left out.
        """
        entry = self.entry(scenario, contender)
        other = self.entry(scenario, to or self.scenarios[scenario]["baseline"]) if entry else None
        if entry is None or other is None:
            return []
        base = {run["round"]: run["seconds"] for run in other["runs"]}
        return [r["seconds"] / base[r["round"]] for r in entry["runs"] if r["round"] in base]


def median(entry: Entry, key: str) -> float:
    """Return the median of a figure over an entry's runs."""
    runs: list[Any] = list(entry["runs"])
    return statistics.median(run[key] for run in runs)


def fact(entry: Entry, key: str) -> float:
    """Return the median of something that the contender said itself."""
    return statistics.median(run["facts"][key] for run in entry["runs"])
