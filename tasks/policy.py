"""What the tasks here have in common: when one is run again, and what its runs are called."""

from typing import TYPE_CHECKING, Any, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff
from prefect.utilities.annotations import quote

from prefect_datasets.core.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect_datasets.core.publish.plan_version import PartPlan

T = TypeVar("T")

RETRIES = 3
RETRY_DELAY = exponential_backoff(backoff_factor=2)
RETRY_JITTER = 0.5


def is_worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Tell whether the same call may succeed later."""
    error = state.data
    return isinstance(error, DatasetError) and error.retryable


def name_of_parts(parameters: dict[str, Any] | None = None) -> str:
    """Call a task run by the parts it publishes: `package dataset://images/v1 2/3`."""
    assert parameters, "Prefect gives them"
    parts: Sequence[PartPlan] = parameters["parts"]
    first, last = parts[0], parts[-1]
    numbers = f"{first.index + 1}" + (f"-{last.index + 1}" if last is not first else "")
    work = "package" if first.is_packaged else "upload"
    of = first.uri or "files in no version"
    return f"{work} {of} {numbers}/{first.n_parts}"


def name_of_uris(parameters: dict[str, Any] | None = None) -> str:
    """Call a task run by the versions it declares."""
    assert parameters, "Prefect gives them"
    uris: str | Sequence[str] = parameters["uris"]
    return f"declare {uris if isinstance(uris, str) else ', '.join(uris)}"


def unseen(value: T) -> T:
    """Hand `value` to a task without letting Prefect walk through it in search of futures.

    Prefect takes the wrapping off again before the task's function is called.
    """
    return cast("T", quote(value))
