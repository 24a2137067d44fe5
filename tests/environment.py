"""The environment that a test's own processes get: nothing of whoever runs the tests."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

_OURS = ("PREFECT_", "VH_", "AWS_", "GOOGLE_", "STORAGE_EMULATOR", "AZURE_")


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment with `home` as Prefect's home and this interpreter's scripts first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {
        **kept,
        "HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Of a throw-away server, which takes its time on a busy machine.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), kept.get("PATH", "")]),
        "no_proxy": "127.0.0.1,localhost",
    }
