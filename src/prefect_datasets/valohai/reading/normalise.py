"""Put what the platform takes, and valohai-yaml does not, into the form that it knows.

Edge types in the plural, as Valohai's own pages write them; `blueprint`, the old name of pipelines,
which would pass unchecked; time limits of digits in quotes, at which valohai-yaml fails.
"""

from __future__ import annotations

import copy
from typing import Any

from prefect_datasets.valohai.reading.document import list_of, mapping_of

_PLURALS = {
    "dependencies": "dependency",
    "deployments": "deployment",
    "environment-variables": "environment-variable",
    "files": "file",
    "inputs": "input",
    "outputs": "output",
    "parameters": "parameter",
}
_LIMITS = ("time-limit", "no-output-timeout")


def normalised(data: Any) -> Any:
    """Return a file's values in the form that valohai-yaml knows; `data` stays as it is."""
    if data is None:
        return []
    changed = copy.deepcopy(data)
    for item in map(mapping_of, list_of(changed)):
        if "blueprint" in item and "pipeline" not in item:
            item["pipeline"] = item.pop("blueprint")
        _normalise_edges(mapping_of(item.get("pipeline")))
        _normalise_limits(mapping_of(item.get("step")))
    return changed


def _normalise_edges(pipeline: dict[str, Any]) -> None:
    edges = list_of(pipeline.get("edges"))
    for index, edge in enumerate(edges):
        if short := list_of(edge):
            edges[index] = [_singular(socket) for socket in short]
        for key in {"source", "target"} & mapping_of(edge).keys():
            edge[key] = _singular(edge[key])


def _singular(socket: Any) -> Any:
    """Write `node.outputs.key` as `node.output.key`; keys may have dots of their own."""
    parts = socket.split(".", 2) if isinstance(socket, str) else []
    if len(parts) != 3:
        return socket
    return ".".join([parts[0], _PLURALS.get(parts[1], parts[1]), parts[2]])


def _normalise_limits(step: dict[str, Any]) -> None:
    for key in _LIMITS:
        if isinstance(text := step.get(key), str) and text.isdecimal():
            step[key] = int(text)
