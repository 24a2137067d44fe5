"""Which version each alias meant in a flow run: answered once, and kept for all its attempts.

The answers are labels of the flow run on the Prefect server, because a retry may run on another
machine. `latest` so is the same version for every input of the run, and for its next attempt.
"""

from uuid import UUID

from prefect.client.orchestration import get_client

from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.tasks.artifacts import unless_the_api_is_gone
from prefect_datasets.tasks.run import Run, read_flow_run

_PREFIX = "prefect-datasets.resolved "

# What this process knows: asked first, and all there is where the API does not answer.
_known: dict[UUID, dict[str, str]] = {}


def pinned(run: Run, uri: DatasetUri, *, store_url: str) -> DatasetUri | None:
    """Return the version that `uri` stood for when the flow run asked first, or None."""
    if run.flow_run_id is None:
        return None
    name = _name(uri, store_url)
    if name not in _of(run.flow_run_id):
        with unless_the_api_is_gone(run.logger, "What earlier attempts resolved"):
            _known[run.flow_run_id] = {**_read(run.flow_run_id), **_of(run.flow_run_id)}
    found = _of(run.flow_run_id).get(name)
    return DatasetUri.parse(found) if found is not None else None


def pin(run: Run, uri: DatasetUri, version: DatasetUri, *, store_url: str) -> None:
    """Keep that `uri` stands for `version` in this flow run."""
    if run.flow_run_id is None:
        return
    name = _name(uri, store_url)
    _known.setdefault(run.flow_run_id, {})[name] = str(version)
    with (
        unless_the_api_is_gone(run.logger, f"What {uri} stands for"),
        get_client(sync_client=True) as client,
    ):
        client.update_flow_run_labels(run.flow_run_id, {_PREFIX + name: str(version)})


def all_pinned(run: Run) -> dict[str, str]:
    """Return what this process knows of the run: `URI in STORE` -> the version's URI."""
    return dict(_of(run.flow_run_id)) if run.flow_run_id is not None else {}


def _name(uri: DatasetUri, store_url: str) -> str:
    return f"{uri} in {store_url}"


def _of(flow_run_id: UUID) -> dict[str, str]:
    return _known.get(flow_run_id, {})


def _read(flow_run_id: UUID) -> dict[str, str]:
    labels = read_flow_run(flow_run_id).labels
    return {
        key.removeprefix(_PREFIX): str(value)
        for key, value in labels.items()
        if key.startswith(_PREFIX)
    }
