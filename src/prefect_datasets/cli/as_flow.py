"""`publish` and `package` as flow runs of the Prefect API that is configured."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any

from prefect.logging.configuration import setup_logging

from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.cli.make import is_prefix
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import catalog
from prefect_datasets.flows.package_version import package_version_flow
from prefect_datasets.flows.prefix import PrefixOptions, publish_prefix
from prefect_datasets.flows.publish import PublishOptions, publish_directory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.versions.catalog import DatasetVersion

# Threads of Prefect that send what is left when the process ends, and warn while a server is slow.
_SENDERS = ("EventsWorker", "APILogWorker")


def publish(chosen: argparse.Namespace) -> list[VersionRecord]:
    """Publish a folder by the flow `publish-directory`, a URL by `publish-prefix`."""
    show_no_tracebacks()
    block = choose_store(chosen.store)
    said: dict[str, Any] = {
        "base": str(chosen.base or ""),
        "exclude": chosen.exclude,
        "aliases": chosen.alias,
        "packaging": chosen.packaging or "store",
        "individual_files": chosen.individual_files or "store",
    }
    named: dict[str, Any] = {}
    if chosen.to:
        named = {"dataset": chosen.to.dataset, "version": chosen.to.version}
    if is_prefix(chosen.directory):
        prefix_options = PrefixOptions(include=chosen.include, **said)
        versions: Any = publish_prefix(block, chosen.directory, options=prefix_options, **named)
    else:
        options = PublishOptions(**said)
        versions = publish_directory(block, chosen.directory, options=options, **named)
    return _records(block.open(), versions)


def package(chosen: argparse.Namespace) -> list[VersionRecord]:
    """Make packages by the flow `package-version`."""
    show_no_tracebacks()
    block = choose_store(chosen.store)
    return _records(block.open(), [package_version_flow(block, str(chosen.uri))])


def _records(store: Store, versions: Sequence[DatasetVersion]) -> list[VersionRecord]:
    return [catalog.find(store, DatasetUri.parse(version.uri)) for version in versions]


class _WithoutTraceback(logging.Formatter):
    """Leaves tracebacks to the run's log in the API; here an error is one line, told at the end."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        bare = copy.copy(record)  # the API's handler gets the same record
        bare.exc_info = bare.exc_text = None
        return self._inner.format(bare)


def show_no_tracebacks() -> None:
    """Keep tracebacks off the terminal, and what Prefect's senders say after the last line."""
    setup_logging()
    for name in _SENDERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_WithoutTraceback(handler.formatter))
