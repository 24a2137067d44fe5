"""Serve all shipped flows from one process: what `prefect-datasets serve` does."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from prefect import Flow
from prefect.deployments.runner import DeploymentApplyError, RunnerDeployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runner import Runner
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType

from prefect_datasets import flows
from prefect_datasets.block_names import BLOCK_TYPE
from prefect_datasets.blocks.choice import block_name
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.errors import StoreError

# The order of the list that people see.
SHIPPED = (
    "publish_directory",
    "publish_prefix",
    "publish_recurring",
    "package_version_flow",
    "warm_cache",
    "verify_version",
    "retain_versions",
    "prune_cache",
    "check_store",
    "run_step",
    "run_pipeline",
)
# Others than those of prefect.yaml: to serve on one machine must not move what a work pool runs.
SUFFIX = "served"
# A store that is no saved block is saved under this name: forms choose among saved ones.
SERVED_BLOCK = "served"


@dataclass(frozen=True, slots=True)
class Served:
    """A deployment that is served.

    Attributes:
        name: `flow/deployment`.
        id: Its id.
        url: Its page in the Prefect UI, or an empty string.
    """

    name: str
    id: str
    url: str


def shipped_flows() -> list[Flow[..., Any]]:
    """Return the flows that can be deployed as they are."""
    return [getattr(flows, name) for name in SHIPPED]


def saved(store: DatasetStore) -> DatasetStore:
    """Return the store as a saved block; one that is not saved yet becomes the block `served`.

    Raises:
        StoreError: The Prefect API did not take it.
    """
    if not block_name(store):
        with _told_of_refusal("block", f"{BLOCK_TYPE}/{SERVED_BLOCK}"):
            store.save(SERVED_BLOCK, overwrite=True)
    return store


def deployments(store: DatasetStore) -> list[RunnerDeployment]:
    """Return a deployment of each shipped flow, with the store filled in.

    Args:
        store: A saved block.
    """
    return [
        each.to_deployment(  # type: ignore[misc] - outside an event loop it is no coroutine
            f"{each.name}-{SUFFIX}",
            parameters={"store": store},
            tags=["prefect-datasets"],
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for each in shipped_flows()
    ]


def serve(
    store: DatasetStore, *, begun: Callable[[Sequence[Served]], None], limit: int | None = None
) -> None:
    """Serve all shipped flows until the process is told to end.

    Args:
        store: What their forms have filled in.
        begun: Is told which deployments there are, when runs of them can be asked for.
        limit: Most runs at once; None for what Prefect's settings say.

    Raises:
        DatasetError: The store can't be used from here, or the Prefect API did not take the block
            or a deployment.
    """
    store.check()
    # A server that does not have this package installed learns of the block here.
    block = saved(store)
    runner = Runner(limit=limit) if limit else Runner()
    served = [_add(runner, each) for each in deployments(block)]
    begun(served)
    asyncio.run(runner.start())


def _add(runner: Runner, deployment: RunnerDeployment) -> Served:
    name = f"{deployment.flow_name}/{deployment.name}"
    with _told_of_refusal("deployment", name):
        id_ = runner.add_deployment(deployment)
    ui = get_current_settings().ui_url
    url = f"{ui.rstrip('/')}/deployments/deployment/{id_}" if ui else ""
    return Served(name, str(id_), url)


@contextmanager
def _told_of_refusal(what: str, name: str) -> Generator[None]:
    """Say what the Prefect API did not take, and why; its client raises errors of many kinds."""
    try:
        yield
    except Exception as error:
        raise StoreError(
            f"The Prefect API did not take the {what} ({_reason(error)})",
            subject=name,
            hint="Check that the server is no older than Prefect here and that PREFECT_API_URL, "
            "its key and its permissions are right.",
        ) from error


def _reason(error: Exception) -> str:
    """Return what the server said, without the request, which it and the client repeat."""
    refused = error.__cause__ if isinstance(error, DeploymentApplyError) else error
    if not isinstance(refused, PrefectHTTPStatusError):
        return f"{type(error).__name__}: {error}"
    reply = refused.response
    with suppress(ValueError, AttributeError, KeyError, TypeError):  # said by another than Prefect
        said: dict[str, Any] = reply.json()
        faults = "; ".join(fault["msg"] for fault in said.get("exception_detail", ()))
        return faults or str(said["detail"])
    return f"{reply.status_code} {reply.reason_phrase}"
