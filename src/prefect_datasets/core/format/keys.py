"""Where each object lies below a store's root (docs/format.md)."""

from __future__ import annotations

from prefect_datasets.core.store.keys import key_of_path
from prefect_datasets.core.uri import DatasetUri

DATASETS = "datasets/"
OUTPUTS = "outputs/"
DATUMS = "datums/"
ATTEMPTS, PACKAGES, ONCE, DELETED = "/@attempts/", "/@packages/", "/@once/", "/@deleted/"
PACKAGE_SUFFIX = ".vhpkgzip"


def dataset_prefix(dataset: str) -> str:
    """Where everything about a dataset but its data lies."""
    return f"{DATASETS}{dataset}/"


def record_key(uri: DatasetUri) -> str:
    """Where the commit record of a version lies."""
    return f"{dataset_prefix(uri.dataset)}{uri.version}.json"


def alias_key(uri: DatasetUri) -> str:
    """Where the alias lies that `uri` names in place of a version."""
    return f"{dataset_prefix(uri.dataset)}@{uri.version}.json"


def packages_key(uri: DatasetUri) -> str:
    """Where packages are recorded that were made after the version was committed."""
    return f"{dataset_prefix(uri.dataset)}@packages/{uri.version}.json"


def tombstone_key(uri: DatasetUri) -> str:
    """Where a deleted version leaves its digest."""
    return f"{dataset_prefix(uri.dataset)}@deleted/{uri.version}.json"


def attempts_prefix(uri: DatasetUri) -> str:
    """Where the open attempts to publish a version lie."""
    return f"{dataset_prefix(uri.dataset)}@attempts/{uri.version}/"


def attempt_key(uri: DatasetUri, execution: str) -> str:
    """Where one execution's open attempt to publish a version lies."""
    return f"{attempts_prefix(uri)}{execution}.json"


def once_prefix(uri: DatasetUri, digest: str, work: str) -> str:
    """Where it is kept who did a piece of work for a version, or does it."""
    name = key_of_path(work).replace("/", "%2F")
    return f"{dataset_prefix(uri.dataset)}@once/{uri.version}/{digest[:16]}/{name}/"


def datum_alias_key(alias: str) -> str:
    """Where a datum alias lies."""
    return f"{DATUMS}@{alias}.json"


def output_prefix(execution: str) -> str:
    """Where everything lies that an execution wrote."""
    return f"{OUTPUTS}{execution}/"


def execution_key(execution: str) -> str:
    """Where it is recorded what an execution was."""
    return f"{output_prefix(execution)}execution.json"


def log_key(execution: str) -> str:
    """Where all that an execution printed is kept."""
    return f"{output_prefix(execution)}log.txt"


def files_prefix(execution: str) -> str:
    """Where an execution's single files lie."""
    return f"{output_prefix(execution)}files/"


def file_key(execution: str, path: str) -> str:
    """Where one file of an execution lies as an object of its own."""
    return files_prefix(execution) + key_of_path(path)


def package_name(uri: DatasetUri, index: int, n_parts: int) -> str:
    """What the package of a version's part is called; numbered from 1 where there are several."""
    number = f"-{index + 1}" if n_parts > 1 else ""
    return f"{uri.dataset}.{uri.version}{number}{PACKAGE_SUFFIX}"


def package_key(execution: str, uri: DatasetUri, index: int, n_parts: int) -> str:
    """Where the package of a version's part lies."""
    name = package_name(uri, index, n_parts)
    return f"{output_prefix(execution)}packages/{uri.dataset}/{uri.version}/{name}"


def together_key(package: str) -> str:
    """Where the new files of a part lie together, beside the part's package."""
    return f"{package.removesuffix(PACKAGE_SUFFIX)}.new{PACKAGE_SUFFIX}"


def tables_prefix(execution: str, uri: DatasetUri | None) -> str:
    """Where an execution's tables of a version lie, or those of its files in no version."""
    of_version = f"{uri.dataset}/{uri.version}/" if uri else "@files/"
    return f"{output_prefix(execution)}tables/{of_version}"


def table_key(execution: str, uri: DatasetUri | None, index: int) -> str:
    """Where the table of one part lies."""
    return f"{tables_prefix(execution, uri)}{index}.parquet"


def stamps_key(table: str) -> str:
    """Where the stamps of the objects are that a part was published from; `table` is its table."""
    return table.replace("/tables/", "/stamps/", 1).removesuffix(".parquet")


def journal_prefix(execution: str, uri: DatasetUri | None) -> str:
    """Where an execution notes which single files it has stored for a version so far."""
    of_version = f"{uri.dataset}/{uri.version}/" if uri else "@files/"
    return f"{output_prefix(execution)}journal/{of_version}"
