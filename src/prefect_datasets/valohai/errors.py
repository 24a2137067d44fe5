"""What can go wrong while a step runs; what is wrong before it does is an `InvalidInputError`."""

from __future__ import annotations

from prefect_datasets.core.errors import DatasetError

# As `docker run` has it: what was to be run never began.
NOT_STARTED = 125


class StepFailedError(DatasetError):
    """The commands of a step failed, or were ended.

    Args:
        message: What went wrong.
        subject: The step.
        hint: What to do now.
        exit_code: What the commands ended with; 128 + signal where one ended them.
    """

    def __init__(
        self, message: str, *, subject: str = "", hint: str = "", exit_code: int = NOT_STARTED
    ) -> None:
        super().__init__(message, subject=subject, hint=hint)
        self.exit_code = exit_code


class StepCancelledError(StepFailedError):
    """Somebody ended the step."""
