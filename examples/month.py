"""A month of a nightly schedule in which much goes wrong, and the versions that it left.

    python -m prefect_datasets.examples.month

Prefect's own schedule says when the runs are due, on the clock of Berlin, which misses the hour of
the 29th. Runs come late, twice, fail, die halfway, are missed and made up for. The table shows for
each night what happened and what its version cost; after it, what retention leaves.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.server.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Scheduled
from prefect.testing.utilities import prefect_test_harness

from prefect_datasets import DatasetStore, DatasetVersion
from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.progress import format_bytes
from prefect_datasets.core.publish.publish import begin, plan_directory, publish_part
from prefect_datasets.core.store import Store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions.aliases import list_aliases
from prefect_datasets.core.versions.recurring import look, properties
from prefect_datasets.flows.recurring import RecurringOptions, publish_recurring
from prefect_datasets.flows.retention import Retained, retain_versions

DATASET, ALIAS, KEEP = "sensor-data", "nightly", 7
NAME = "{scheduled@Europe/Berlin:%Y-%m-%d}"
FILE_BYTES, PACKAGE_BYTES = 20_000, 100_000

IN_TIME, LATE, TWICE, QUIET = "in time", "late", "twice, with other files", "nothing new"
FAILED, DIED, AGAIN, MADE_UP = "failed", "died before its commit", "tried again", "made up for"
# In which order the runs come: in the place of each night here, these; the others come in time.
ORDER: dict[int, list[tuple[int, str]]] = {
    5: [],
    7: [(7, IN_TIME), (5, LATE)],
    9: [(9, IN_TIME), (9, TWICE)],
    12: [(12, FAILED)],
    14: [(14, IN_TIME), (12, AGAIN)],
    16: [(16, DIED)],
    17: [(17, IN_TIME), (16, AGAIN)],
    20: [(20, QUIET)],
    21: [(21, QUIET)],
    24: [],
    31: [(31, IN_TIME), (24, MADE_UP), (31, TWICE), (2, TWICE)],
}


@dataclass
class Night:
    """One night of the schedule, and what became of it.

    Attributes:
        due: When its run was due.
        source: The folder that its run publishes.
        runs: What is to be said of each of its runs.
        made: The version, once there is one.
        n_bytes: Bytes that its runs wrote to the store.
        alias: What the alias named after its last run, which may have come nights later.
    """

    due: datetime
    source: Path
    runs: list[str] = field(default_factory=list[str])
    made: DatasetVersion | None = None
    n_bytes: int = 0
    alias: str = ""


@dataclass(frozen=True)
class Month:
    """What the month left.

    Attributes:
        nights: Its nights.
        aliases: What the alias named after each run, in the order of the runs.
        would_go: What retention would have deleted at its end.
        went: What it did delete.
    """

    nights: list[Night]
    aliases: list[str]
    would_go: Retained
    went: Retained


def simulate(folder: Path) -> Month:
    """Let the month pass on a store below `folder`."""
    block = DatasetStore(url=str(folder / "store"), packaging="on", max_package_bytes=PACKAGE_BYTES)
    nights = [Night(due, folder / f"{due:%d}") for due in asyncio.run(due_times())]
    aliases: list[str] = []
    for number, what in happenings():
        night, before = nights[number - 1], _sizes(block.open())
        _happen(block, night, what)
        after = _sizes(block.open())
        night.runs.append(what)
        night.n_bytes += sum(after[key] for key in after.keys() - before)
        night.alias = list_aliases(block.open(), DATASET).targets[ALIAS]
        aliases.append(night.alias)
    would_go = retain_versions(block, DATASET, keep=KEEP)
    went = retain_versions(block, DATASET, keep=KEEP, apply=True)
    return Month(nights, aliases, would_go, went)


async def due_times() -> list[datetime]:
    """Return when Prefect's scheduler starts a run in each night of March 2026."""
    schedule = CronSchedule(cron="30 2 * * *", timezone="Europe/Berlin")
    return list(await schedule.get_dates(n=31, start=datetime(2026, 3, 1, tzinfo=UTC)))


def happenings() -> Iterator[tuple[int, str]]:
    """Yield the runs in the order in which they come: night, and what is to be said of it."""
    for number in range(1, 32):
        yield from ORDER.get(number, [(number, IN_TIME)])


def _happen(block: DatasetStore, night: Night, what: str) -> None:
    if what == FAILED:  # what it is to publish is not there yet
        try:
            _run(block, night)
        except DatasetError:
            return
        raise AssertionError
    _measure(night, what)
    if what == DIED:
        _publish_halfway(block, night)
    else:
        night.made = _run(block, night, by_hand=what == MADE_UP)


def _measure(night: Night, what: str) -> None:
    """Write what was measured: a file for the night; others if somebody measures twice."""
    night.source.mkdir(exist_ok=True)
    if what != QUIET:
        value = 99 if what == TWICE else night.due.day
        (night.source / f"{night.due:%Y-%m-%d}.csv").write_bytes(bytes([value]) * FILE_BYTES)


def _run(block: DatasetStore, night: Night, *, by_hand: bool = False) -> DatasetVersion | None:
    """Run the flow as a worker does; by hand, without the schedule, it is told what was due."""
    due = f"{night.due:%Y-%m-%d %H:%M}" if by_hand else ""
    parameters: dict[str, Any] = {
        "store": block,
        "source": str(night.source),
        "dataset": DATASET,
        "version": NAME,
        "options": RecurringOptions(aliases=[ALIAS], due=due),
    }
    state = Scheduled(scheduled_time=datetime.now(UTC) if by_hand else night.due)
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(publish_recurring, parameters=parameters, state=state)
    made = run_flow(publish_recurring, flow_run=run, parameters=parameters)
    return cast("DatasetVersion | None", made)


def _publish_halfway(block: DatasetStore, night: Night) -> None:
    """Leave in the store what a run leaves that is killed before its commit."""
    store = block.open()
    uri = DatasetUri(DATASET, f"{night.due:%Y-%m-%d}")
    base = look(store, uri, night.due).base
    declared = VersionDeclaration(uri, base=base, properties=properties(night.due))
    plan = plan_directory(night.source, store=store, to=[declared], policy=block.policy())
    begin(plan, store=store)
    for part in plan.versions[0].parts:
        publish_part(part, store=store)


def _sizes(store: Store) -> dict[str, int]:
    return {info.key: info.n_bytes for info in store.list("")}


def table(month: Month) -> str:
    """Return the month as Markdown."""
    head = ["due", "its runs", "version", "made from", "files", "size", "written", ALIAS]
    lines = [head, ["---"] * len(head), *map(_row, month.nights)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def retention(month: Month) -> str:
    """Say what retention did."""
    went = month.went
    return (
        f"Retention keeps {', '.join(name[5:] for name in went.kept)} and deletes "
        f"{len(went.deleted)} versions; no other needs {format_bytes(went.n_bytes)} of them."
    )


def _row(night: Night) -> list[str]:
    made = night.made
    cells = [f"{night.due:%d, %H:%M %Z}", "; ".join(night.runs)]
    if made is None:
        return [*cells, "", "", "", "", format_bytes(night.n_bytes), night.alias[5:]]
    return [
        *cells,
        made.uri.rpartition("/")[2][5:],
        made.parent.rpartition("/")[2][5:],
        f"{made.n_files}",
        format_bytes(made.n_bytes),
        format_bytes(night.n_bytes),
        night.alias[5:],
    ]


if __name__ == "__main__":
    # The thread that sends heartbeats would let each run take a second more.
    quick = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    with quick, prefect_test_harness(), tempfile.TemporaryDirectory() as folder:
        month = simulate(Path(folder))
    print(table(month), retention(month), sep="\n\n")
