"""Which store is meant: a block, the name of a saved one, a URL, or nothing."""

from typing import cast
from uuid import UUID

from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from prefect_datasets.block_names import BLOCK_TYPE, DEFAULT_BLOCK, block_name_in, no_such_block
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.errors import InvalidInputError, StoreError
from prefect_datasets.settings import Settings

_defaults: dict[UUID, DatasetStore] = {}


def choose_store(store: DatasetStore | str | None = None) -> DatasetStore:
    """Return the store that is meant.

    Args:
        store: A block, the name of a saved one, or a URL; None for the saved block `default`, else
            the environment's store, else the embedded one.

    Raises:
        InvalidInputError: It is none of these.
        NotFoundError: No block has been saved under the name.
    """
    if isinstance(store, DatasetStore):
        return store
    if store is None:
        return _default_store()
    if not store.strip():
        raise InvalidInputError("The store is empty", hint="Name a saved block, or give a URL.")
    if (name := block_name_in(store)) is None:
        return DatasetStore(url=store)
    if (block := load_block(name)) is None:
        raise no_such_block(name)
    return block


def load_block(name: str) -> DatasetStore | None:
    """Return the saved block of this name, or None.

    Raises:
        StoreError: The Prefect API can't be asked.
    """
    try:
        # `_sync`: plain `load` gives a coroutine inside an async flow.
        return cast("DatasetStore", DatasetStore.load(name, _sync=True))  # type: ignore[call-arg]
    except Exception as error:
        if isinstance(error.__cause__, ObjectNotFound):
            return None
        raise StoreError(
            f"The Prefect API could not be asked for the block ({type(error).__name__}: {error})",
            subject=f"{BLOCK_TYPE}/{name}",
            hint="Check PREFECT_API_URL, or name the store by its URL.",
        ) from error


def _default_store() -> DatasetStore:
    """Return the saved default, else the environment's store, else the embedded one.

    One answer for a flow run: a default that is saved anew meanwhile is for the next.
    """
    context = FlowRunContext.get()
    run = context.flow_run.id if context is not None and context.flow_run is not None else None
    if run is not None and run in _defaults:
        return _defaults[run]
    block = load_block(DEFAULT_BLOCK) if _api_is_at_hand() else None
    chosen = block or DatasetStore(url=Settings.read().store_url)
    if run is not None:
        _defaults[run] = chosen
    return chosen


def _api_is_at_hand() -> bool:
    """Tell whether asking the API costs no throw-away server: in a run, or where one is set."""
    in_run = FlowRunContext.get() is not None or TaskRunContext.get() is not None
    return in_run or bool(get_current_settings().api.url)


def block_name(block: DatasetStore) -> str:
    """Return the name that a block is saved under, or an empty string."""
    # Prefect has no other way to ask.
    return block._block_document_name or ""  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
