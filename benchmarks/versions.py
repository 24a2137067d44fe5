"""Who makes the next version from the one that is there, and what a warm resolve costs."""

from __future__ import annotations

import json
import sys

from benchmarks.contender import OURS, Contender, Setting, rival
from benchmarks.resolvers import fetched, resolving

DELTA = f"{OURS} resolve v2, v1 cached"
COLD = f"{OURS} resolve v1, nothing cached"
COLD_NEW = f"{OURS} resolve v2, nothing cached"
LINKS = "cp -al of the tree"

WARM = f"{OURS} resolve, warm"
ENGINE = f"{OURS} resolve, warm, in the engine"
PASS = "python -c pass"
ISOLATED = "python -I -c pass"


def deltas() -> list[Contender]:
    """Return who makes v2; `cp -al` makes v1's tree again, by links alone."""
    return [
        Contender(
            DELTA,
            lambda s: resolving(s, "v2"),
            before=lambda s: _cached(s, "v1"),
            makes="new",
            facts=fetched,
        ),
        Contender(
            COLD,
            lambda s: resolving(s, "v1"),
            makes="files",
            facts=fetched,
        ),
        Contender(
            COLD_NEW,
            lambda s: resolving(s, "v2"),
            makes="new",
            facts=fetched,
            rounds=1,
        ),
        Contender(LINKS, lambda s: f"cp -al {s.files.root} {s.target}", makes="files"),
    ]


def warm() -> list[Contender]:
    """Return what a warm resolve is held against: the start of the interpreter."""
    return [
        Contender(
            WARM,
            lambda s: resolving(s, "v1"),
            before=_once_cached,
            makes="files",
            keeps_cache=True,
        ),
        Contender(PASS, lambda _: f"{sys.executable} -c pass", keeps_cache=True),
        Contender(ISOLATED, lambda _: f"{sys.executable} -I -c pass", keeps_cache=True),
        Contender(
            ENGINE,
            lambda s: rival(f"warm {s.store} {s.cache} dataset://bench/v1"),
            before=_once_cached,
            facts=json.loads,
            rounds=3,
            keeps_cache=True,
        ),
    ]


def _once_cached(s: Setting) -> str:
    return f"[ -e {s.cache}/versions ] || {_cached(s, 'v1')}"


def _cached(s: Setting, version: str) -> str:
    """Return the command that brings a version into the setting's cache."""
    return resolving(s, version).replace(f"--to {s.target} ", "")
