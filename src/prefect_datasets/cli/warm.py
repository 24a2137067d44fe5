"""`resolve` of a version that is in the cache, in little more than the interpreter's start.

Only the plainest way to write it is understood here: one version of a store that is named by a
URL, whole, and a link to it at most. What is written otherwise, is not in the cache or has anything
wrong with it goes the general way, which says the same about this one.
"""

from __future__ import annotations

import os
import sys
import time

from prefect_datasets import variables
from prefect_datasets.cli import api_settings
from prefect_datasets.cli.output import close_output, show
from prefect_datasets.core.amounts import count, format_bytes
from prefect_datasets.core.cache import hit
from prefect_datasets.core.small_json import dumps
from prefect_datasets.core.store_name import identity_of, record_stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# What a command resolved is in use when the command has ended: by whoever called it.
IN_USE_SECONDS = 24 * 3600.0

_SCHEME = "dataset://"
_WITH_VALUE = ("--store", "--cache-dir", "--to")


def answer(argv: Sequence[str]) -> bool:
    """Do what `argv` asks for if it is this plain; False where the general way is to do it."""
    if not argv or argv[0] != "resolve":
        return False
    asked = _read(argv[1:])
    store = _store(asked) if asked else None
    if asked is None or store is None:
        return False
    uri, target = asked["uri"], asked.get("--to", "")
    dataset, _, version = uri.removeprefix(_SCHEME).partition("/")
    found = _find(store, asked.get("--cache-dir", ""), dataset, version)
    if found is None or (target and not _link(found[0], target)):
        return False
    _show(uri, target or found[0], found[1], as_json="--json" in asked)
    return True


def _read(arguments: Sequence[str]) -> dict[str, str] | None:
    """Return the options that are written, and `uri`."""
    asked: dict[str, str] = {}
    left = iter(arguments)
    for item in left:
        name, equals, value = item.partition("=")
        if item == "--json":
            asked[item] = "yes"
        elif name in _WITH_VALUE:
            asked[name] = value if equals else next(left, "")
            if not asked[name] or asked[name].startswith("-"):
                return None
        elif "uri" in asked or not _is_version(item):
            return None
        else:
            asked["uri"] = item
    return asked if "uri" in asked else None


def _is_version(text: str) -> bool:
    """Tell whether it may name a version; that it is a good name is known where it is cached."""
    names = text.removeprefix(_SCHEME).split("/")
    return (
        text.startswith(_SCHEME)
        and len(names) == 2
        and all(name and name[0] != "." and name.isprintable() for name in names)
        and names[1] != "latest"
    )


def _store(asked: dict[str, str]) -> str | None:
    """Return the URL of the store; None where a saved block is meant or may be."""
    if named := asked.get("--store"):
        return named if "://" in named or named[0] in "/." else None
    if api_settings.configured().get("url"):
        return None
    return variables.store_url(os.environ)


def _find(
    store: str, cache_dir: str, dataset: str, version: str
) -> tuple[str, dict[str, Any]] | None:
    try:
        stamp = record_stamp(store, dataset, version)
        name = identity_of(store, {})
        root = os.path.abspath(cache_dir or variables.cache_folder(os.environ))  # noqa: PTH100  (no pathlib)
    except OSError:  # a relative path, and the working directory is gone
        return None
    if stamp is None:
        return None
    until = time.time() + IN_USE_SECONDS
    return hit.find(root, name, dataset, version, stamp=stamp, until=until)


def _link(path: str, target: str) -> bool:
    """Make `target` a link to `path`, if nothing is in the way and nothing else is to be made."""
    if {"", "."} & {*target.removeprefix("/").split("/")}:  # it would be shown in another way
        return False
    try:
        os.symlink(path, target)  # noqa: PTH211  (no pathlib)
    except OSError:
        return False
    return True


def _show(uri: str, path: str, ready: dict[str, Any], *, as_json: bool) -> None:
    if sys.stderr and sys.stderr.isatty():
        size = f"{count(ready['n_files'], 'file')}, {format_bytes(ready['n_bytes'])}"
        sys.stderr.write(f"{size}: all from the cache\n")
    shown: dict[str, str | int] = {
        "uri": uri,
        "path": path,
        "digest": ready["digest"],
        "n_files": ready["n_files"],
        "n_bytes": ready["n_bytes"],
        "n_fetched_bytes": 0,
        "n_linked_files": 0,
        "is_warm": True,
    }
    try:
        show(dumps(shown, indent="  ") if as_json else path)
        if sys.stdout:  # None where the caller closed it
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        close_output()
