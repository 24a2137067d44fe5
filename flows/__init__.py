"""What is used in flows, and flows to deploy.

Names are imported when they are first used: each flow costs some milliseconds to make, and a flow
of one's own that publishes needs none of them.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_datasets.flows.check import check_store
    from prefect_datasets.flows.declare import write_metadata
    from prefect_datasets.flows.once import once_per_version
    from prefect_datasets.flows.package_version import package_version_flow
    from prefect_datasets.flows.prefix import publish_prefix
    from prefect_datasets.flows.prune import prune_cache
    from prefect_datasets.flows.publish import PublishOptions, publish_directory, publish_outputs
    from prefect_datasets.flows.recurring import publish_recurring
    from prefect_datasets.flows.resolve import resolve_inputs, warm_cache
    from prefect_datasets.flows.retention import retain_versions
    from prefect_datasets.flows.run_pipeline import run_pipeline
    from prefect_datasets.flows.run_step import run_step
    from prefect_datasets.flows.triggers import on_new_version
    from prefect_datasets.flows.verify import verify_version
    from prefect_datasets.flows.working import outputs

__all__ = [
    "PublishOptions",
    "check_store",
    "on_new_version",
    "once_per_version",
    "outputs",
    "package_version_flow",
    "prune_cache",
    "publish_directory",
    "publish_outputs",
    "publish_prefix",
    "publish_recurring",
    "resolve_inputs",
    "retain_versions",
    "run_pipeline",
    "run_step",
    "verify_version",
    "warm_cache",
    "write_metadata",
]

_HOMES = {
    "PublishOptions": "publish",
    "check_store": "check",
    "on_new_version": "triggers",
    "once_per_version": "once",
    "outputs": "working",
    "package_version_flow": "package_version",
    "prune_cache": "prune",
    "publish_directory": "publish",
    "publish_outputs": "publish",
    "publish_prefix": "prefix",
    "publish_recurring": "recurring",
    "resolve_inputs": "resolve",
    "retain_versions": "retention",
    "run_pipeline": "run_pipeline",
    "run_step": "run_step",
    "verify_version": "verify",
    "warm_cache": "resolve",
    "write_metadata": "declare",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


class _Flows(ModuleType):
    """Keeps a module from hiding the flow that it is called after, as `run_step` would."""

    def __setattr__(self, name: str, value: Any) -> None:
        is_hiding = isinstance(value, ModuleType) and _HOMES.get(name) == name
        super().__setattr__(name, getattr(value, name) if is_hiding else value)


sys.modules[__name__].__class__ = _Flows
