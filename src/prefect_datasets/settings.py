"""What the environment says, as values.

Prefect is not imported here, so that the command line can ask for a default without paying for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prefect_datasets.variables import STORE_VARIABLE, cache_folder, home_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

OUTPUTS_VARIABLE = "VH_OUTPUTS_DIR"
PACKAGING_VARIABLE = "VH_ENABLE_DATASET_VERSION_PACKAGING"

_ON = frozenset({"1", "yes", "true"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says.

    Attributes:
        home: Everything that is kept without being told where lies below it.
        store: URL of the default store, or an empty string where none is named.
        cache: Root of the default cache.
        outputs: Folder that whoever started this process collects outputs from; None for none.
        packaging_switch: What the packaging variable says; None where it is not set.
    """

    home: Path
    store: str
    cache: Path
    outputs: Path | None
    packaging_switch: bool | None

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read `environment`, or this process's own."""
        variables = os.environ if environment is None else environment
        return cls(
            home=Path(home_folder(variables)),
            store=variables.get(STORE_VARIABLE, ""),
            cache=Path(cache_folder(variables)),
            outputs=Path(outputs) if (outputs := variables.get(OUTPUTS_VARIABLE)) else None,
            packaging_switch=parse_switch(variables.get(PACKAGING_VARIABLE)),
        )

    @property
    def store_url(self) -> str:
        """URL of the store to use where nobody names one: the environment's, else the embedded."""
        return self.store or str(self.home / "store")

    @property
    def runs(self) -> Path:
        """Folder with the working directories of runs."""
        return self.home / "runs"


def parse_switch(text: str | None) -> bool | None:
    """Read the packaging variable as Valohai does: `1`, `yes`, `true` are on, all else is off."""
    return None if text is None else text.strip().lower() in _ON
