"""Prefect tasks: each a signature, a policy and one call of the engine."""

from prefect_datasets.tasks.commit import commit_version
from prefect_datasets.tasks.metadata import write_metadata
from prefect_datasets.tasks.package import package_version
from prefect_datasets.tasks.resolve import resolve_input
from prefect_datasets.tasks.upload import upload_files

__all__ = ["commit_version", "package_version", "resolve_input", "upload_files", "write_metadata"]
