"""The log of a run, as a step's output goes into it."""

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.store_spec import identity
from prefect_datasets.tasks.pins import Answer, keep
from prefect_datasets.tasks.progress import RunProgress
from prefect_datasets.tasks.run import Run
from prefect_datasets.valohai.running.step_inputs import StepInput


class RunStepLog(RunProgress):
    """Shows a step in the run it is run by.

    Args:
        run: The run.
        store: Where its inputs are.
        asked: What an alias was called that was looked up before: asked for, by what it stands for.
    """

    def __init__(self, run: Run, *, store: DatasetStore, asked: dict[str, str]) -> None:
        super().__init__(run)
        self._store = identity(store.spec())
        self._asked = asked

    def line(self, text: str) -> None:
        """Show what the step printed."""
        self.run.logger.info("%s", text)

    def brought(self, found: StepInput) -> None:
        """Keep and show what an input was: the same for all attempts of the run."""
        answers = [
            Answer(
                name=found.name,
                asked=self._asked.get(each.resolved, each.asked),
                resolved=each.resolved,
                store=self._store,
                n_files=each.n_files,
                n_bytes=each.n_bytes,
                n_fetched_bytes=each.n_fetched_bytes,
            )
            for each in found.brought
        ]
        keep(self.run, answers)
