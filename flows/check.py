"""Try a store: `check_store` as a deployment."""

from dataclasses import dataclass
from typing import Annotated

from prefect import flow

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.flows.forms import described, titled
from prefect_datasets.tasks.run import current_run


@dataclass(frozen=True, slots=True)
class CheckedStore:
    """A store that can be used from here.

    Attributes:
        url: Its root.
        endpoint: Address of its server, where one is named.
        creates_once: Whether of two that publish one version at once only one can win.
    """

    url: str
    endpoint: str
    creates_once: bool


@described
@flow(name="check-store", flow_run_name="check the store")
def check_store(store: Annotated[DatasetStore, titled("Store")]) -> CheckedStore:
    """Write, read and delete a small object, from the machine that runs this.

    The run fails with what is wrong: the URL, the credentials, the bucket or the address.

    Args:
        store: The store to try.
    """
    run = current_run()
    assert run is not None, "a flow run"
    opened = store.open()
    opened.check()
    checked = CheckedStore(opened.url, opened.endpoint, not opened.ignores_conditions())
    where = f"{opened.url} at {opened.endpoint}" if opened.endpoint else opened.url
    run.logger.info("%s can be written, read and deleted from", where)
    if not checked.creates_once:
        run.logger.warning(
            "%s has no create-only writes: of two runs that publish one version at once, the second"
            " may replace the first",
            where,
        )
    return checked
