"""Flows to copy. `prefect-datasets demo` runs those of `digits.py`."""
