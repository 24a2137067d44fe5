"""The folder of this machine where a run writes its outputs."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from prefect_datasets.settings import Settings
from prefect_datasets.tasks.run import Run, current_run, run_count


@contextmanager
def outputs(parent: str | Path | None = None) -> Generator[Path]:
    """Give a new, empty folder for this run's outputs.

    It is removed when the block succeeds, together with what earlier attempts of the run left. When
    the block fails it is kept, and the run's log says where: the work may be worth publishing by
    hand.

    Where `VH_OUTPUTS_DIR` is set, as in a step of a valohai.yaml, it is that folder, as it is, and
    stays: whoever set the variable collects what lies there.

    Args:
        parent: Where to make it; a folder that all workers share where tasks run on several
            machines. Left out, below the Prefect home directory.
    """
    settings = Settings.read()
    if parent is None and settings.outputs is not None:
        settings.outputs.mkdir(parents=True, exist_ok=True)
        yield settings.outputs
        return
    run = current_run()
    home = Path(parent) if parent is not None else settings.runs
    folder = _make(home, run)
    try:
        yield folder
    except BaseException:
        if run is not None and any(folder.iterdir()):
            run.logger.warning("The outputs are kept in %s", folder)
        raise
    _remove(folder, of_run=run is not None and run.flow_run_id is not None)


def _make(home: Path, run: Run | None) -> Path:
    """Make the folder: `<flow run>/<attempt>-…`, so that attempts can be told apart."""
    if run is None or run.flow_run_id is None:
        home.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="outputs-", dir=home))
    parent = home / str(run.flow_run_id)
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{run_count()}-", dir=parent))


def _remove(folder: Path, *, of_run: bool) -> None:
    """Remove a folder, and those of earlier attempts; a second folder of this attempt stays."""
    shutil.rmtree(folder, ignore_errors=True)
    if not of_run:
        return
    attempt = _attempt(folder)
    for other in folder.parent.iterdir():
        if _attempt(other) < attempt:
            shutil.rmtree(other, ignore_errors=True)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def _attempt(folder: Path) -> int:
    return int(folder.name.partition("-")[0])
