"""Free space in the cache of a machine: `prune_cache` as a deployment."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from prefect import flow

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.cache import prune as engine
from prefect_datasets.core.cache.prune import Candidate, Prune
from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.flows.forms import OptionalSize, described, parse_size, titled
from prefect_datasets.tasks import artifacts
from prefect_datasets.tasks.run import current_run

_MOST_ROWS = 1_000
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune freed, or would free.

    Attributes:
        cache: Folder of the cache.
        is_done: Whether it was freed.
        n_bytes: Bytes given back to the disk, about.
        n_freed: Trees and attempts that went.
        n_kept: Those that stay.
    """

    cache: str
    is_done: bool
    n_bytes: int
    n_freed: int
    n_kept: int


@described
@flow(name="prune-cache", flow_run_name="prune the cache")
def prune_cache(
    store: Annotated[DatasetStore, titled("Store")],
    keep: Annotated[OptionalSize, titled("Keep at most")] = "",
    unused_days: Annotated[int, titled("Unused for (days)", ge=0)] = 0,
    apply: Annotated[bool, titled("Free it")] = False,  # noqa: FBT002 - a form
) -> Pruned:
    """Free space in the cache of the machine that runs this, the longest unused versions first.

    What a run is using stays. Unless told to free it, this only shows what would go.

    Args:
        store: The store whose settings name the cache and its budget.
        keep: How much may stay, such as 50G. Empty: the store's cache budget; where it has none,
            only what is named by the days goes, and attempts that nobody goes on with.
        unused_days: Versions that were not used for so many days go in any case; 0 for none.
        apply: Free it; off shows what would be freed.
    """
    run = current_run()
    assert run is not None, "a flow run"
    cache = store.cache()
    plan = engine.plan_prune(
        engine.survey(cache),
        now=time.time(),
        max_bytes=parse_size(keep) if keep else cache.max_bytes,
        unused_seconds=unused_days * _DAY_SECONDS or None,
    )
    rows = _rows(plan)
    n_bytes = engine.prune(cache, plan) if apply else plan.n_bytes
    done = "freed" if apply else "would free"
    versions = count(len(plan.frees), "cached version")
    told = f"{done} {versions}, {format_bytes(n_bytes)}, in {cache.root}"
    run.logger.info("%s", told)
    if rows:
        artifacts.create_table(run, key="pruned-cache", rows=rows, description=told)
    return Pruned(str(cache.root), apply, n_bytes, len(plan.frees), len(plan.keeps))


def _rows(plan: Prune) -> list[dict[str, artifacts.Cell]]:
    both = [*((each, "") for each in plan.frees), *plan.keeps]
    return [_row(candidate, why) for candidate, why in both[:_MOST_ROWS]]


def _row(candidate: Candidate, why: str) -> dict[str, artifacts.Cell]:
    used = datetime.fromtimestamp(candidate.last_used, UTC)
    return {
        "version": candidate.name,
        "size": format_bytes(candidate.n_bytes),
        "last used": f"{used:%Y-%m-%d %H:%M}",
        "goes": "no" if why else "yes",
        "why it stays": why,
    }
