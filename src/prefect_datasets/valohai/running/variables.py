"""The variables that a step gets: few of the machine's, then the run's, then the step's own.

What is not named here stays outside, so that a step does the same wherever it is started from:
credentials, Prefect's settings, a notebook's (`JPY_…` would make valohai-utils think that it runs
in one), Python's (`PYTHONPATH`, `PYTHONHOME`), the shell's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect_datasets.valohai.running.config_files import ExecutionInfo
    from prefect_datasets.valohai.running.directories import Places

# How this machine speaks, what hardware it has, and how it reaches the network.
_LANGUAGE = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ")
_HARDWARE = (
    "CUDA_DEVICE_ORDER",
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
)
_NETWORK = (
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
)
_PROXIES = ("all_proxy", "ftp_proxy", "http_proxy", "https_proxy", "no_proxy")
PASSED = frozenset((*_LANGUAGE, *_HARDWARE, *_NETWORK, *_PROXIES, *map(str.upper, _PROXIES)))

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OF_PIPELINES = {
    "pipeline-id": "VH_PIPELINE_ID",
    "pipeline-node-id": "VH_PIPELINE_NODE_ID",
    "task-id": "VH_TASK_ID",
}


def variables(
    own: Mapping[str, str],
    *,
    info: ExecutionInfo,
    places: Places,
    machine: Mapping[str, str],
    programs: str = "",
) -> dict[str, str]:
    """Return all variables of a step.

    Args:
        own: The step's own; they go before everything.
        info: What the run is.
        places: Where the step finds its folders.
        machine: The variables of whoever runs it.
        programs: Folder with the programs of the Python that runs it, where it is not on the path.
    """
    return {
        **{name: value for name, value in machine.items() if name in PASSED},
        "PATH": _path(places, machine, programs),
        "HOME": places.home,
        "TMPDIR": places.tmp,
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/bash",
        "VIRTUAL_ENV": places.python,
        # A line is to be seen when it is printed.
        "PYTHONUNBUFFERED": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **_of_run(info, places),
        **own,
    }


def _path(places: Places, machine: Mapping[str, str], programs: str) -> str:
    machines = (machine.get("PATH") or _DEFAULT_PATH).split(":")
    folders = dict.fromkeys((f"{places.python}/bin", programs, *machines))
    return ":".join(folder for folder in folders if folder)


def _of_run(info: ExecutionInfo, places: Places) -> dict[str, str]:
    more = {name: str(info.more[key]) for key, name in _OF_PIPELINES.items() if info.more.get(key)}
    return {
        "VH_CONFIG_DIR": places.config,
        "VH_INPUTS_DIR": places.inputs,
        "VH_OUTPUTS_DIR": places.outputs,
        "VH_REPOSITORY_DIR": places.repository,
        "VH_JOB_ID": f"exec-{info.id}",
        "VH_EXECUTION_ID": info.id,
        "VH_PROJECT_ID": info.project_id,
        **more,
    }
