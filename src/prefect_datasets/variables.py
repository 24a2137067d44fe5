"""Environment variables about places, and what stands for those that are not set: texts alone.

`settings` makes values of them. Nothing is imported here that takes time.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STORE_VARIABLE = "PREFECT_DATASETS_STORE"
CACHE_VARIABLE = "PREFECT_DATASETS_CACHE"
HOME_VARIABLE = "PREFECT_HOME"


def home_folder(variables: Mapping[str, str]) -> str:
    """Return the folder below which everything is kept without being told where."""
    return os.path.join(_expanded(variables.get(HOME_VARIABLE) or "~/.prefect"), "datasets")  # noqa: PTH118  (no pathlib)


def cache_folder(variables: Mapping[str, str]) -> str:
    """Return the root of the default cache."""
    named = variables.get(CACHE_VARIABLE)
    return _expanded(named) if named else f"{home_folder(variables)}/cache"


def store_url(variables: Mapping[str, str]) -> str:
    """Return the URL of the store to use where nobody names one: what is set, else the embedded."""
    return variables.get(STORE_VARIABLE) or f"{home_folder(variables)}/store"


def _expanded(path: str) -> str:
    return os.path.expanduser(path)  # noqa: PTH111  (no pathlib)
