"""Work of a flow that is to be done once for a version, however often a run is started for it."""

from collections.abc import Generator
from contextlib import contextmanager

from prefect.runtime import flow_run

from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.errors import DatasetError, InvalidInputError
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import once as engine
from prefect_datasets.core.versions.catalog import find
from prefect_datasets.flows.templates import fill
from prefect_datasets.tasks.run import Run, current_run, run_count


@contextmanager
def once_per_version(
    uri: str,
    *,
    store: DatasetStore | str | None = None,
    work: str = "",
    lease_seconds: float = engine.LEASE_SECONDS,
) -> Generator[bool]:
    """Give True to one of all runs that ask for a version, and False to the others.

        with once_per_version(version) as is_mine:
            if is_mine:
                ...

    The store decides, so it holds for runs on any machines. When the block ends, the work is done
    for good; when it fails, the next run may do it at once; when its process is killed, the next
    run does it as soon as that is certain: at once on the same machine, else after the lease.

    Args:
        uri: The version, an alias or `latest`.
        store: A block, the name of a saved one, or a URL; left out, the default store.
        work: What is done; left out, the flow's name. Another work is done another time.
        lease_seconds: How long a process may stand still until another takes over.

    Raises:
        NotFoundError: There is no such version.
        InvalidInputError: Outside a flow nobody said what the work is.
    """
    run = current_run()
    name = work or _flow_name(run)
    opened = choose_store(store).open()
    record = find(opened, DatasetUri.parse(fill(uri)))
    turn = engine.begin(opened, record, name, who=_who(run), lease_seconds=lease_seconds)
    if isinstance(turn, engine.Taken):
        _say(run, turn, f"{name} of {record.uri}")
        yield False
        return
    try:
        yield True
    except BaseException:
        _give_up(run, turn)
        raise
    if not turn.finish() and run is not None:
        run.logger.warning(
            "This run stood still for longer than its lease: %s of %s was done by another, too",
            name,
            record.uri,
        )


def _flow_name(run: Run | None) -> str:
    if run is None or run.flow_run_id is None:
        raise InvalidInputError(
            "Outside a flow run the work has no name", hint='Say work="…", the same every time.'
        )
    return str(flow_run.flow_name)


def _who(run: Run | None) -> dict[str, str | int]:
    if run is None or run.flow_run_id is None:
        return {}
    return {"run": str(run.flow_run_id), "name": str(flow_run.name), "attempt": run_count()}


def _say(run: Run | None, taken: engine.Taken, what: str) -> None:
    if run is None:
        return
    other = taken.who.get("name", "another process")
    done = "was done by" if taken.is_done else "is being done by"
    run.logger.info("%s %s %s: nothing to do", what, done, other)


def _give_up(run: Run | None, turn: engine.Turn) -> None:
    try:
        turn.give_up()
    except DatasetError as error:  # what went wrong in the block is worth more
        if run is not None:
            run.logger.warning("The next run has to wait for the lease: %s", error)
