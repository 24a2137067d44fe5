"""Which version each alias meant in a flow run: answered once, and kept for all its attempts.

The answers are labels of the flow run on the Prefect server, because a retry may run on another
machine. `latest` so is the same version for every input of the run, and for its next attempt.
"""

from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import get_client

from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.tasks.artifacts import unless_the_api_is_gone
from prefect_datasets.tasks.run import Run, read_flow_run

_PREFIX = "prefect-datasets.resolved "

# What this process knows: read once for each run, and all there is where the API does not answer.
_known: dict[UUID, dict[str, str]] = {}
_inputs: dict[UUID, dict[str, list[str]]] = {}


def pinned(run: Run, uri: DatasetUri, *, store: str) -> DatasetUri | None:
    """Return the version that `uri` stood for when the flow run asked first, or None.

    Args:
        run: The run.
        uri: The version, alias or `latest` that was asked for.
        store: The store's identity: two stores may have datasets of one name.
    """
    if run.flow_run_id is None:
        return None
    if run.flow_run_id not in _known:
        _known[run.flow_run_id] = {}
        with unless_the_api_is_gone(run.logger, "What earlier attempts resolved"):
            _known[run.flow_run_id] = _read(run.flow_run_id)
    found = _known[run.flow_run_id].get(_name(uri, store))
    return DatasetUri.parse(found) if found is not None else None


def pin(run: Run, uri: DatasetUri, version: DatasetUri, *, store: str) -> None:
    """Keep that `uri` stands for `version` in this flow run."""
    if run.flow_run_id is None:
        return
    name = _name(uri, store)
    _known.setdefault(run.flow_run_id, {})[name] = str(version)
    with (
        unless_the_api_is_gone(run.logger, f"What {uri} stands for"),
        get_client(sync_client=True) as client,
    ):
        client.update_flow_run_labels(run.flow_run_id, {_PREFIX + name: str(version)})


def note_input(run: Run, name: str, uris: Sequence[str]) -> None:
    """Keep what an input of the run was, for what the run publishes."""
    if run.flow_run_id is not None:
        _inputs.setdefault(run.flow_run_id, {})[name] = list(uris)


def inputs_of(run: Run) -> dict[str, list[str]]:
    """Return the inputs that this process resolved for the run: name -> URIs, aliases resolved."""
    return dict(_inputs.get(run.flow_run_id, {})) if run.flow_run_id is not None else {}


def _name(uri: DatasetUri, store: str) -> str:
    return f"{uri} in {store[:12]}"


def _read(flow_run_id: UUID) -> dict[str, str]:
    labels = read_flow_run(flow_run_id).labels
    return {
        key.removeprefix(_PREFIX): str(value)
        for key, value in labels.items()
        if key.startswith(_PREFIX)
    }
