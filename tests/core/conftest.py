"""Settings of the property tests: the machines differ too much for deadlines."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("engine", deadline=None)
settings.load_profile("engine")
