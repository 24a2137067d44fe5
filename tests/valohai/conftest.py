"""A machine to run steps on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.valohai import steps


@pytest.fixture
def machine(tmp_path: Path) -> steps.Machine:
    return steps.machine(tmp_path)
