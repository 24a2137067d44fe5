"""Publish and resolve beside the rivals, on this machine; figures, a table and a picture.

    python -m benchmarks                     all scenarios, about an hour; goes on where it was
    python -m benchmarks --small             the same ratios on few files, under two minutes
    python -m benchmarks --only NAME…        these scenarios, anew
    python -m benchmarks list                what the scenarios are
    python -m benchmarks report              write the table and the picture from the raw figures

The rivals come with `pip install -e ".[bench]"`; bsdtar, 7z, unzip, zip and gcc from the system.
What is missing is named and left out. The delayed link needs root.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import scenarios
from benchmarks.files import disk_bytes
from benchmarks.links import DELAYED, Network, network, why_no_link
from benchmarks.machine import about, commit
from benchmarks.native import compiled
from benchmarks.play import Player, Scenario, say, taking_turns
from benchmarks.report import write_reports
from benchmarks.results import Outcome, Results
from benchmarks.stage import Need, Stage, staged

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "benchmarks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    asked = _parser().parse_args(arguments)
    wanted = _wanted(asked)
    if asked.do == "list":
        for scenario in wanted:
            print(f"{scenario.name:26}{scenario.title}: {scenario.need.shape}")
        return 0
    out: Path = asked.out or (
        REFERENCE if asked.mode == "full" else Path(f"benchmarks-{asked.mode}")
    )
    results = Results.read(out / "results.json")
    if asked.do == "run":
        if unknown := set(asked.only) - {scenario.name for scenario in wanted}:
            sys.exit(f"no such scenario: {', '.join(sorted(unknown))}; see `list`")
        play(_chosen(wanted, asked.only, results), results, asked.work, asked.turn)
    print(write_reports(results, out))
    return 1 if any(_ours_failed(outcome) for outcome in results.scenarios.values()) else 0


def _wanted(asked: argparse.Namespace) -> list[Scenario]:
    if asked.mode == "full":
        return scenarios.full(asked.files)
    return scenarios.small() if asked.mode == "small" else scenarios.tiny()


def play(
    wanted: Sequence[Scenario], results: Results, where: Path | None, turn: Path | None
) -> None:
    """Play scenarios, those that need the same one after another on one stage.

    Args:
        wanted: Which.
        results: Where the figures go.
        where: A folder on a memory file system; found if left out.
        turn: A file that is locked while something is measured.
    """
    results.about = about(ROOT)
    reason = why_no_link()
    with ExitStack() as stack:
        built = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tools = {name: found for name in ("files", "link") if (found := compiled(name, built))}
        connected = stack.enter_context(network(None if reason else tools["link"]))
        groups: dict[Need, list[Scenario]] = {}
        for scenario in wanted:
            if scenario.link == DELAYED and reason:
                say(f"{scenario.name} is left out: the delayed link {reason}")
            else:
                groups.setdefault(scenario.need, []).append(scenario)
        for need, group in groups.items():
            _play_group(need, group, results, connected, where, turn, tools)


def _play_group(
    need: Need,
    group: Sequence[Scenario],
    results: Results,
    connected: Network,
    where: Path | None,
    turn: Path | None,
    tools: dict[str, Path],
) -> None:
    say(f"{need.shape}: preparing")
    folder = Path("/var/tmp") if need.on_disk else where or _memory_folder()
    with ExitStack() as stack:
        with taking_turns(turn):
            stage = stack.enter_context(staged(need, connected, folder, tools))
        for scenario in group:
            say(f"{scenario.name}: {scenario.title}")
            outcome = outcome_of(scenario, stage)
            results.scenarios[scenario.name] = outcome
            Player(scenario, stage, results, outcome, turn).play()


def outcome_of(scenario: Scenario, stage: Stage) -> Outcome:
    """Return a scenario's outcome before its first round."""
    files = stage.setting.files
    return {
        "title": scenario.title,
        "shape": str(scenario.need.shape),
        "link": scenario.link,
        "baseline": scenario.contenders[0].name,
        "n_files": files.n_files,
        "n_bytes": files.n_bytes,
        "disk_bytes": disk_bytes(scenario.need.shape),
        "new_bytes": stage.new_bytes,
        "commit": commit(ROOT),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "is_complete": False,
        "contenders": {},
    }


def _chosen(wanted: Sequence[Scenario], only: Sequence[str], results: Results) -> list[Scenario]:
    if only:
        return [scenario for scenario in wanted if scenario.name in only]
    return [scenario for scenario in wanted if not results.is_complete(scenario.name)]


def _memory_folder() -> Path:
    """Return a memory file system, where what the disk does is not measured."""
    there = Path("/dev/shm")
    return there if there.is_dir() and os.access(there, os.W_OK) else Path(tempfile.gettempdir())


def _ours_failed(outcome: Outcome) -> bool:
    entry = outcome["contenders"].get(outcome["baseline"])
    return entry is None or bool(entry["fault"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("do", nargs="?", choices=("run", "list", "report"), default="run")
    parser.add_argument(
        "--small",
        dest="mode",
        action="store_const",
        const="small",
        default="full",
        help="few files",
    )
    parser.add_argument(
        "--tiny", dest="mode", action="store_const", const="tiny", help="a trial of the machinery"
    )
    parser.add_argument(
        "--files", type=int, default=100_000, help="of 10 kB; fewer where memory is short"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="these scenarios, anew"
    )
    parser.add_argument("--out", type=Path, default=None, help="folder of figures and reports")
    parser.add_argument("--work", type=Path, help="a folder on a memory file system")
    parser.add_argument(
        "--turn", type=Path, help="file to lock while measuring, where others measure too"
    )
    return parser


def _end(*_: object) -> None:
    """End as with Ctrl-C, which a shell's background jobs ignore: everything is taken down."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
