"""What is used in flows, and flows to deploy."""

from prefect_datasets.flows.declare import write_metadata
from prefect_datasets.flows.package_version import package_version_flow
from prefect_datasets.flows.publish import PublishOptions, publish_directory, publish_outputs
from prefect_datasets.flows.resolve import resolve_inputs, warm_cache
from prefect_datasets.flows.working import outputs

__all__ = [
    "PublishOptions",
    "outputs",
    "package_version_flow",
    "publish_directory",
    "publish_outputs",
    "resolve_inputs",
    "warm_cache",
    "write_metadata",
]
