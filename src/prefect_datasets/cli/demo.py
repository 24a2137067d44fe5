"""`demo`: publish, train, change and fetch real images, with flows of `examples/digits.py`.

Prefect runs in a home directory of the demo's own, so that the user's profile, server and cache
stay as they are.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_datasets.cli.output import show, show_json
from prefect_datasets.cli.progress import ProgressBar
from prefect_datasets.core.errors import DatasetError, InvalidInputError
from prefect_datasets.core.progress import count, format_bytes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Generator

    from prefect_datasets.core.store import Store
    from prefect_datasets.core.versions.catalog import DatasetVersion

_NEEDED = {"sklearn": "scikit-learn", "PIL": "pillow"}
# What the user's environment says about Prefect and about stores is not meant for the demo.
_NOT_MEANT = ("PREFECT_", "VH_ENABLE_DATASET_VERSION_PACKAGING")
_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",  # nothing here is sent anywhere
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # Errors reach the user as ours; the rest of the log would drown the dozen lines of the demo.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
}
_N_STEPS = 6


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the demo did.

    Attributes:
        name: What it was.
        uri: The version that it made or used.
        seconds: How long it took.
        n_fetched_bytes: What a training moved from the store.
        n_linked_files: Files that a training found in the cache.
        accuracy: What a training reached.
    """

    name: str
    uri: str
    seconds: float
    n_fetched_bytes: int | None = None
    n_linked_files: int | None = None
    accuracy: float | None = None


def demo(chosen: argparse.Namespace) -> int:
    """Run the demo."""
    _check_extra()
    root = _folder(chosen.dir)
    home = root / "prefect"
    with _telling(quiet=chosen.json) as tell, _own_prefect(home, tell):
        steps = _Story(home / "datasets", tell).run()
    if chosen.json:
        store, cache = home / "datasets" / "store", home / "datasets" / "cache"
        show_json({"store": str(store), "cache": str(cache), "steps": [asdict(s) for s in steps]})
    else:
        show(_how_to_look(home / "datasets"))
    return 0


def _check_extra() -> None:
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise DatasetError(
            f"The demo needs {' and '.join(missing)}",
            hint='Install with: pip install "prefect-datasets[demo]".',
        )


def _folder(directory: str | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="prefect-datasets-demo-"))
    root = Path(directory).absolute()
    if root.exists() and not root.is_dir():
        raise InvalidInputError("Not a folder", subject=directory, hint="Give a new or an old one.")
    root.mkdir(parents=True, exist_ok=True)
    return root


# -- telling ----------------------------------------------------------------------------------


class _Teller:
    """Lines for the user, above a bar over the steps where there is a terminal."""

    def __init__(self, bar: ProgressBar | None, *, quiet: bool) -> None:
        self._bar = bar
        self._quiet = quiet

    def begin(self, what: str) -> None:
        """Say what is being done now."""
        if self._bar:
            self._bar.rename(what)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self._bar:
            self._bar.note(line)
        elif not self._quiet:
            show(line)
            sys.stdout.flush()

    def done(self) -> None:
        """Count a step as done."""
        if self._bar:
            self._bar.advance(n_files=1, n_bytes=0)


@contextmanager
def _telling(*, quiet: bool) -> Generator[_Teller]:
    if quiet or not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield _Teller(None, quiet=quiet)
        return
    bar = ProgressBar(sys.stderr, unit="steps")
    bar.start("importing", n_files=_N_STEPS, n_bytes=0)
    ended = threading.Event()
    clock = threading.Thread(target=_tick, args=(bar, ended), daemon=True)
    clock.start()
    try:
        yield _Teller(bar, quiet=False)
    finally:
        ended.set()
        clock.join()
        bar.close()


def _tick(bar: ProgressBar, ended: threading.Event) -> None:
    """Keep the bar's clock going through steps that take seconds."""
    while not ended.wait(0.2):
        bar.advance(n_files=0, n_bytes=0)


@contextmanager
def _own_prefect(home: Path, tell: _Teller) -> Generator[None]:
    """Run Prefect with its home in `home` and a server of its own, for this process."""
    for name in [name for name in os.environ if name.startswith(_NOT_MEANT)]:
        del os.environ[name]
    os.environ.update(_SETTINGS, PREFECT_HOME=str(home))
    tell.say(f"All that the demo writes lies in {home.parent}; your Prefect profile is not used.")
    tell.begin("starting Prefect")
    began = time.monotonic()
    from prefect.client.orchestration import get_client  # noqa: PLC0415  after the environment is set
    from prefect.settings import (  # noqa: PLC0415
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    # A heartbeat would keep every flow run for a second after its end.
    settings: dict[Any, None] = {PREFECT_API_URL: None, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        client.hello()
        tell.done()
        tell.say(f"Prefect started for this process alone, in {_seconds(began)}.")
        yield


# -- the steps --------------------------------------------------------------------------------


class _Story:
    """The steps, one after the other.

    Args:
        datasets: Folder with the demo's store and cache.
        tell: Is told of each step.
    """

    def __init__(self, datasets: Path, tell: _Teller) -> None:
        self._store, self._cache = datasets / "store", datasets / "cache"
        self._tell = tell

    def run(self) -> list[Step]:
        """Run them all."""
        from prefect_datasets.examples import digits  # noqa: PLC0415  imports Prefect

        v1, v2 = "dataset://digits/v1", "dataset://digits/v2"
        return [
            self._publish("publish v1", digits.prepare_digits),
            self._train("train on v1", digits.train_on_digits, v1),
            self._train("train again", digits.train_on_digits, v1),
            self._publish("publish v2", digits.correct_digits),
            self._train("train on v2", digits.train_on_digits, v2),
        ]

    def _publish(self, name: str, flow: Callable[[], list[DatasetVersion]]) -> Step:
        self._tell.begin(name)
        began = time.monotonic()
        (version,) = flow()
        step = Step(name, version.uri, time.monotonic() - began)
        package = version.packages[0]
        size = format_bytes(package.n_bytes)
        what = f"{count(version.n_files, 'image')} in {Path(package.key).name} ({size})"
        self._end(step, f"{what}{self._changes(version)}")
        return step

    def _changes(self, version: DatasetVersion) -> str:
        """Say what differs from the version that it was made from, if it was."""
        from prefect_datasets.core.uri import DatasetUri  # noqa: PLC0415
        from prefect_datasets.core.versions.diff import diff  # noqa: PLC0415  pyarrow

        if not version.parent:
            return ""
        old, new = DatasetUri.parse(version.parent), DatasetUri.parse(version.uri)
        found = diff(self._opened(), old, new)
        return (
            f": {old.version} with {len(found.changed)} changed, {len(found.added)} added, "
            f"{len(found.removed)} left out"
        )

    def _train(self, name: str, flow: Callable[[str], float], uri: str) -> Step:
        self._tell.begin(name)
        before = self._fetched()
        began = time.monotonic()
        accuracy = flow(uri)
        seconds = time.monotonic() - began
        n_bytes, n_linked = (now - then for now, then in zip(self._fetched(), before, strict=True))
        step = Step(name, uri, seconds, n_bytes, n_linked, accuracy)
        self._end(step, f"{self._came(step)}: accuracy {accuracy:.1%}")
        return step

    def _came(self, step: Step) -> str:
        """Say what a training had to fetch."""
        from prefect_datasets.core.uri import DatasetUri  # noqa: PLC0415
        from prefect_datasets.core.versions import catalog  # noqa: PLC0415

        if not step.n_fetched_bytes:
            return "fetched nothing, all was here"
        record = catalog.find(self._opened(), DatasetUri.parse(step.uri))
        tables = sum(part.table_bytes for part in record.parts)
        images = format_bytes(step.n_fetched_bytes - tables)
        linked = f", linked {step.n_linked_files:,} images" if step.n_linked_files else ""
        return f"fetched {images} of images and their table of {format_bytes(tables)}{linked}"

    def _opened(self) -> Store:
        from prefect_datasets.core.store import open_store  # noqa: PLC0415

        return open_store(str(self._store))

    def _end(self, step: Step, what: str) -> None:
        self._tell.done()
        self._tell.say(f"{step.name:<12} {step.seconds:5.1f} s   {what}")

    def _fetched(self) -> tuple[int, int]:
        """Return how many bytes the cache has fetched so far, and how many files it has linked."""
        from prefect_datasets.core.cache.cache import Ready  # noqa: PLC0415  only the demo's own

        found = [
            ready
            for path in self._cache.glob("versions/*/*/ready")
            if (ready := Ready.from_json(path.read_bytes()))
        ]
        return sum(r.n_fetched_bytes for r in found), sum(r.n_linked_files for r in found)


def _how_to_look(datasets: Path) -> str:
    store = datasets / "store"
    (package,) = store.glob("outputs/*/packages/digits/v1/*.vhpkgzip")
    v1, v2, at = "dataset://digits/v1", "dataset://digits/v2", ("--store", str(store))
    to = ("--to", str(datasets.parent.parent / "digits"), "--cache-dir", str(datasets / "cache"))
    commands = [
        ["prefect-datasets", "list", "digits", *at],
        ["prefect-datasets", "diff", v1, v2, *at],
        ["prefect-datasets", "resolve", v2, *to, *at],
        [sys.executable, "-m", "zipfile", "--list", str(package)],
    ]
    lines = "\n".join(f"  {shlex.join(command)}" for command in commands)
    return (
        f"\nThe packages, tables and single images lie in {store},\n"
        f"what was fetched in {datasets / 'cache'}. Look at them:\n{lines}"
    )


def _seconds(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"
