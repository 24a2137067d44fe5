"""Which store and which cache a command is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_datasets.block_names import DEFAULT_BLOCK, block_name_in, no_such_block
from prefect_datasets.cli.prefect_api import configured_api
from prefect_datasets.cli.warm import IN_USE_SECONDS
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.settings import Settings

if TYPE_CHECKING:
    import argparse

    from prefect_datasets.core.cache.cache import Cache
    from prefect_datasets.core.store import Store


@dataclass(frozen=True, slots=True)
class Place:
    """A store, and the cache that goes with it on this machine.

    Attributes:
        url: Root of the store.
        cache_dir: Root of the cache.
        options: Options of the store's filesystem, secret ones included.
        block: Fields of the saved block it comes from; empty where it comes from none.
    """

    url: str
    cache_dir: Path
    options: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    block: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def store(self) -> Store:
        """Open the store; nothing is asked of it yet."""
        from prefect_datasets.core.store import open_store  # noqa: PLC0415  not for wrong usage

        return open_store(self.url, self.options)

    def cache(self) -> Cache:
        """Return the cache."""
        from prefect_datasets.core.cache.cache import Cache  # noqa: PLC0415  few commands need it

        if self.cache_dir.exists() and not self.cache_dir.is_dir():
            raise InvalidInputError(
                "The cache is no folder",
                subject=str(self.cache_dir),
                hint="Name another by --cache-dir or PREFECT_DATASETS_CACHE.",
            )
        return Cache(
            self.cache_dir,
            max_bytes=self.block.get("cache_bytes") or None,
            grace_seconds=IN_USE_SECONDS,
        )


def choose(chosen: argparse.Namespace) -> Place:
    """Return the store and cache that the command line, a block or the environment names.

    Raises:
        InvalidInputError: `--store` is empty.
        NotFoundError: No block has been saved under the name.
        StoreError: The Prefect API, or its database, can't be asked.
    """
    named: str | None = chosen.store
    cache_dir = Path(chosen.cache_dir) if getattr(chosen, "cache_dir", None) else None
    if named is None:
        block = _default_block()
        return (
            _of_block(block, cache_dir) if block else _of_url(Settings.read().store_url, cache_dir)
        )
    if not named.strip():
        raise InvalidInputError("--store is empty", hint="Give a URL or the name of a saved block.")
    if (name := block_name_in(named)) is None:
        return _of_url(named, cache_dir)
    return _of_block(_saved_block(name), cache_dir)


def _of_url(url: str, cache_dir: Path | None) -> Place:
    return Place(url, cache_dir or Settings.read().cache)


def _of_block(block: dict[str, Any], cache_dir: Path | None) -> Place:
    own = Path(block["cache_dir"]).expanduser() if block.get("cache_dir") else None
    return Place(
        url=block["url"],
        cache_dir=cache_dir or own or Settings.read().cache,
        options={**block.get("options", {}), **block.get("secrets", {})},
        block=block,
    )


def _default_block() -> dict[str, Any] | None:
    api = configured_api()
    return api.saved_store(DEFAULT_BLOCK) if api else None


def _saved_block(name: str) -> dict[str, Any]:
    api = configured_api()
    block = api.saved_store(name) if api else _from_database(name)
    if block is None:
        raise no_such_block(name)
    return block


def _from_database(name: str) -> dict[str, Any] | None:
    """Without an API, saved blocks lie in a database that only Prefect itself can read."""
    from prefect_datasets.cli.prefect_database import saved_store  # noqa: PLC0415  seconds

    return saved_store(name)
