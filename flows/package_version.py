"""Packages for a version that was published without any."""

from typing import Annotated

from prefect import flow

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.publish import publish as engine
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions.catalog import DatasetVersion
from prefect_datasets.flows.forms import VersionUri, described, titled
from prefect_datasets.flows.spread import publish_version
from prefect_datasets.flows.templates import fill


@described
@flow(name="package-version", flow_run_name="package {uri}")
def package_version_flow(
    store: Annotated[DatasetStore, titled("Store")], uri: Annotated[VersionUri, titled("Version")]
) -> DatasetVersion:
    """Make packages for a version that has none; its files, digest and record stay as they are.

    Args:
        store: Where the version is.
        uri: The version or an alias, dataset://NAME/VERSION.
    """
    version = engine.plan_packages(DatasetUri.parse(fill(uri)), store=store.open())
    return publish_version(version, store)
