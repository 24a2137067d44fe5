"""`publish`, `package`: what makes something.

Where a Prefect API is configured they run as flows, so that they show in its UI. With none, a
throw-away server would take ten seconds and show nobody anything: the engine is called directly.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefect_datasets.cli.describe import version_json, version_line
from prefect_datasets.cli.output import show, show_json
from prefect_datasets.cli.place import Place, choose
from prefect_datasets.cli.prefect_api import configured_api
from prefect_datasets.cli.progress import open_progress
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import ModuleType

    from prefect_datasets.core.format.record import VersionRecord
    from prefect_datasets.core.metadata.declarations import VersionDeclaration
    from prefect_datasets.core.publish.ahead import Ahead
    from prefect_datasets.core.publish.plan import Plan
    from prefect_datasets.core.publish.plan_version import Packaging, Policy
    from prefect_datasets.core.store import Store

_PACKAGING: dict[str | None, Packaging] = {"on": True, "off": False, "auto": "auto", None: None}
_MAX_PACKAGE_BYTES = 1 << 30


def publish(chosen: argparse.Namespace) -> int:
    """Publish a folder, or the objects below a prefix of a store."""
    _check(chosen)
    records = _as_flow().publish(chosen) if _asks_for_flow() else _publish(chosen)
    _show_versions(records, as_json=chosen.json)
    return 0


def package(chosen: argparse.Namespace) -> int:
    """Make packages for a version that has none."""
    records = _as_flow().package(chosen) if _asks_for_flow() else _package(chosen)
    _show_versions(records, as_json=chosen.json)
    return 0


def _asks_for_flow() -> bool:
    """Tell whether there is a Prefect API that would show the run."""
    api = configured_api()
    if api:
        api.check()
    return api is not None


def _as_flow() -> ModuleType:
    from prefect_datasets.cli import as_flow  # noqa: PLC0415  imports Prefect

    return as_flow


def _check(chosen: argparse.Namespace) -> None:
    """Find what is wrong before anything is opened or imported."""
    needs_to = {"--from": chosen.base, "--exclude": chosen.exclude, "--alias": chosen.alias}
    lonely = [name for name, value in needs_to.items() if value]
    if lonely and not chosen.to:
        raise InvalidInputError(
            f"{lonely[0]} is about the version that --to names, and there is no --to",
            hint="Add --to dataset://NAME/VERSION, or declare it in the folder's metadata.",
        )
    if is_prefix(chosen.directory):
        return
    if chosen.include:
        raise InvalidInputError(
            "--include chooses among the objects below a URL",
            subject=chosen.directory,
            hint="Leave it out, or name another folder.",
        )
    root = Path(chosen.directory)
    if not root.is_dir():
        what = "Not a folder" if root.exists() else "No such folder"
        raise InvalidInputError(what, subject=chosen.directory, hint="Give one with the files.")


def is_prefix(source: str) -> bool:
    """Tell whether what is to be published lies in a store."""
    return "://" in source


def _publish(chosen: argparse.Namespace) -> Sequence[VersionRecord]:
    if is_prefix(chosen.directory):
        return _publish_with(chosen, None)
    from prefect_datasets.core.publish.ahead import Ahead  # noqa: PLC0415  only this one needs it

    with Ahead(Path(chosen.directory)) as ahead:
        return _publish_with(chosen, ahead)


def _publish_with(chosen: argparse.Namespace, ahead: Ahead | None) -> Sequence[VersionRecord]:
    from prefect_datasets.core.publish import publish as engine  # noqa: PLC0415  pyarrow

    place = choose(chosen)
    declared = None
    if chosen.to:
        declared = engine.VersionDeclaration(
            uri=chosen.to,
            base=chosen.base,
            exclude=tuple(chosen.exclude),
            aliases=tuple(chosen.alias),
        )
    store = place.store()
    plan = _plan(
        chosen,
        store=store,
        to=[declared] if declared else None,
        policy=_policy(place, chosen.packaging, chosen.individual_files),
        ahead=ahead,
    )
    if not plan.versions:
        raise InvalidInputError(
            "Nothing says which dataset version to make",
            subject=chosen.directory,
            hint="Name it with --to, or declare it in the folder's metadata.",
        )
    with open_progress() as progress:
        return engine.publish_plan(plan, store=store, progress=progress)


def _plan(
    chosen: argparse.Namespace,
    *,
    store: Store,
    to: Sequence[VersionDeclaration] | None,
    policy: Policy,
    ahead: Ahead | None,
) -> Plan:
    if ahead is None:
        from prefect_datasets.core.publish.prefix import plan_prefix  # noqa: PLC0415  pyarrow

        return plan_prefix(
            chosen.directory, store=store, include=chosen.include, to=to, policy=policy
        )
    from prefect_datasets.core.publish.plan import plan_directory  # noqa: PLC0415  pyarrow

    return plan_directory(
        Path(chosen.directory), store=store, to=to, policy=policy, walked=ahead.walked()
    )


def _package(chosen: argparse.Namespace) -> Sequence[VersionRecord]:
    from prefect_datasets.core.publish import publish as engine  # noqa: PLC0415  pyarrow

    store = choose(chosen).store()
    with open_progress() as progress:
        return [engine.package_version(chosen.uri, store=store, progress=progress)]


def _policy(place: Place, packaging: str | None, individual_files: str | None) -> Policy:
    """Return how to publish: the command line, else the environment, else the block."""
    from prefect_datasets.core.publish.plan_version import Policy  # noqa: PLC0415  pyarrow

    switch = Settings.read().packaging_switch
    if packaging is None and switch is None:
        packaging = place.block.get("packaging")
    return Policy(
        packaging=_PACKAGING.get(packaging),
        switch=switch,
        individual_files=(
            individual_files == "on"
            if individual_files
            else place.block.get("individual_files", True)
        ),
        max_package_bytes=place.block.get("max_package_bytes", _MAX_PACKAGE_BYTES),
    )


def _show_versions(records: Sequence[VersionRecord], *, as_json: bool) -> None:
    if as_json:
        show_json({"versions": [version_json(record) for record in records]})
        return
    for record in records:
        show(version_line(record))
