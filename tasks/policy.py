"""What the tasks here have in common: when one is run again, and what its runs are called."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, TypeVar, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff
from prefect.utilities.annotations import quote

from prefect_datasets.core.errors import DatasetError

T = TypeVar("T")


def is_worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Tell whether the same call may succeed later."""
    error = state.data
    return isinstance(error, DatasetError) and error.retryable


class Policy(TypedDict):
    """Options of a task."""

    retries: int
    retry_delay_seconds: Callable[[int], list[float]]
    retry_jitter_factor: float
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]
    cache_policy: CachePolicy
    persist_result: bool


# Of every task that moves data: what may succeed later is tried again, and Prefect keeps nothing.
RETRIED: Policy = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_worth_retrying,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}


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
