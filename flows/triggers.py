"""What starts a deployment by itself."""

from typing import Any

from prefect.events import DeploymentEventTrigger

from prefect_datasets.core.uri import check_dataset_name
from prefect_datasets.tasks.events import CREATED


def on_new_version(
    dataset: str, *, parameter: str = "version", **parameters: Any
) -> DeploymentEventTrigger:
    """Start a deployment for each new version of a dataset, with the version's URI.

        train.serve("train", triggers=[on_new_version("sensor-data")])

    Args:
        dataset: Name of the dataset.
        parameter: The flow's parameter that gets `dataset://NAME/VERSION`.
        parameters: Values of other parameters.

    Raises:
        InvalidUriError: No dataset can have the name.
    """
    check_dataset_name(dataset, where=f"dataset://{dataset}/*")
    return DeploymentEventTrigger(
        name=f"new version of {dataset}",
        expect={CREATED},
        match={"prefect.resource.id": f"dataset://{dataset}/*"},  # type: ignore[arg-type]
        parameters={parameter: "{{ event.resource.id }}", **parameters},
    )
