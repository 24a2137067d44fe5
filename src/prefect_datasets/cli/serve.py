"""`serve`: all shipped flows, with forms in the Prefect UI, run by this process."""

from __future__ import annotations

import signal
import warnings
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from prefect_datasets.cli.output import show, show_json, table
from prefect_datasets.cli.prefect_api import configured_api
from prefect_datasets.core.errors import InvalidInputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Sequence

    from prefect_datasets.flows.serve import Served


def serve(chosen: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    api = configured_api()
    if api is None:  # said before Prefect is imported
        raise InvalidInputError(
            "No Prefect API is configured, so nobody could start a run",
            hint="Run `prefect server start`, then set PREFECT_API_URL, such as "
            "http://127.0.0.1:4200/api.",
        )
    api.check()
    from prefect_datasets.blocks.choice import choose_store  # noqa: PLC0415  imports Prefect
    from prefect_datasets.cli.as_flow import show_no_tracebacks  # noqa: PLC0415  likewise
    from prefect_datasets.flows import serve as engine  # noqa: PLC0415  likewise

    show_no_tracebacks()
    store = choose_store(chosen.store)

    def begun(served: Sequence[Served]) -> None:
        _show(served, store=store.url, as_json=chosen.json)

    with _ending_as_prefect_does(), suppress(KeyboardInterrupt):
        engine.serve(store, begun=begun, limit=chosen.limit)
    return 0


def _show(served: Sequence[Served], *, store: str, as_json: bool) -> None:
    if as_json:
        show_json({"store": store, "deployments": [asdict(each) for each in served]})
        return
    show(table(("DEPLOYMENT", "PAGE"), [(each.name, each.url) for each in served]))
    show("serving them until Ctrl-C")


@contextmanager
def _ending_as_prefect_does() -> Generator[None]:
    """Leave signals to Prefect: it ends what runs, and pauses schedules, before it returns."""
    watched = signal.set_wakeup_fd(-1)
    try:
        with warnings.catch_warnings():
            # Of SIGTERM: Prefect 3.8 forgets one of its own coroutines, and ends well without it.
            warnings.filterwarnings("ignore", message="coroutine 'Runner.astop' was never awaited")
            yield
    finally:
        signal.set_wakeup_fd(watched)
