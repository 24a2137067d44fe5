"""Why a step failed, in one sentence, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from prefect_datasets.valohai.errors import StepCancelledError, StepFailedError
from prefect_datasets.valohai.plan import StepPlan
from prefect_datasets.valohai.running.process import Ended, signal_of

_FULL = ("No space left on device", "Disk quota exceeded", "[Errno 28]")
_MOST_WORDS = 300
_OUT_OF_MEMORY = "Perhaps the machine ran out of memory: give it more, or let the step take less."
# What valohai-utils 0.8 ends with when dataset versions are objects: it has written all by then.
_UNHASHABLE = "unhashable type: 'dict'"
_OBJECT_FORM = (
    "The `output_properties()` of valohai-utils fails when dataset versions are objects, after it "
    "wrote the metadata: write valohai.metadata.jsonl or sidecars yourself."
)


def explain(
    plan: StepPlan, ended: Ended, *, last_words: Sequence[str], disk_is_full: bool
) -> StepFailedError | None:
    """Return the error of a step, or None where it succeeded.

    Args:
        plan: What ran.
        ended: How it ended.
        last_words: What it printed last, most of it on standard error.
        disk_is_full: Whether the disk with its outputs has no room.
    """
    if ended.reason == "ended" and ended.exit_code == 0:
        return None
    if ended.reason == "cancelled":
        return StepCancelledError(
            "The step was cancelled", subject=plan.step, exit_code=ended.exit_code
        )
    message, hint = _limit(plan, ended) or _exit(ended, last_words, disk_is_full=disk_is_full)
    return StepFailedError(message, subject=plan.step, hint=hint, exit_code=ended.exit_code)


def _limit(plan: StepPlan, ended: Ended) -> tuple[str, str] | None:
    match ended.reason:
        case "time limit":
            return (
                f"The step took longer than its time limit of {plan.time_limit:g} s",
                "Raise `time-limit`, or let it do less.",
            )
        case "no output":
            return (
                f"The step printed nothing for {plan.no_output_timeout:g} s",
                "Raise `no-output-timeout`, or let it print how far it is.",
            )
        case _:
            return None


def _exit(ended: Ended, last_words: Sequence[str], *, disk_is_full: bool) -> tuple[str, str]:
    code = ended.exit_code
    said = next((line for line in reversed(last_words) if line.strip()), "")[:_MOST_WORDS]
    hint = f"It said last: {said}" if said else ""
    number = signal_of(code)
    if disk_is_full or any(text in line for line in last_words for text in _FULL):
        return f"The disk is full (exit code {code})", hint or "Make room, or write less."
    if any(_UNHASHABLE in line for line in last_words):
        return f"The step failed with exit code {code}", _OBJECT_FORM
    if number is not None:
        killed = number.name == "SIGKILL"
        return f"The step was ended by {number.name} (exit code {code})", (
            _OUT_OF_MEMORY if killed else hint
        )
    if code == 127:
        return "A command was not found (exit code 127)", hint
    if code == 126:
        return "A command can't be run (exit code 126)", hint
    return f"The step failed with exit code {code}", hint
