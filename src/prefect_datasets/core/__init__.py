"""The engine: synchronous, typed, without Prefect."""
