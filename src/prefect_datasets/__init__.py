"""Immutable, packaged dataset versions for Prefect flows, on any object store.

Names are imported when they are first used: a process that only reads a cached version imports
neither Prefect nor pyarrow.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from prefect_datasets.blocks.dataset_store import DatasetStore
    from prefect_datasets.core.errors import DatasetError
    from prefect_datasets.core.versions.catalog import DatasetVersion
    from prefect_datasets.flows.declare import write_metadata
    from prefect_datasets.flows.once import once_per_version
    from prefect_datasets.flows.publish import publish_outputs
    from prefect_datasets.flows.resolve import resolve_inputs
    from prefect_datasets.flows.triggers import on_new_version
    from prefect_datasets.flows.working import outputs

__version__ = "0.1.0"

__all__ = [
    "DatasetError",
    "DatasetStore",
    "DatasetVersion",
    "__version__",
    "on_new_version",
    "once_per_version",
    "outputs",
    "publish_outputs",
    "resolve_inputs",
    "write_metadata",
]

_HOMES = {
    "DatasetError": "core.errors",
    "DatasetStore": "blocks.dataset_store",
    "DatasetVersion": "core.versions.catalog",
    "on_new_version": "flows.triggers",
    "once_per_version": "flows.once",
    "outputs": "flows.working",
    "publish_outputs": "flows.publish",
    "resolve_inputs": "flows.resolve",
    "write_metadata": "flows.declare",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  not for a warm resolve

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
