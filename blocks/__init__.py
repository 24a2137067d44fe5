"""Configuration that Prefect saves. Prefect imports this package to find the block types."""

from prefect_datasets.blocks.dataset_store import DatasetStore

__all__ = ["DatasetStore"]
