"""What a run shows of a step: a summary, and a table of the metadata it printed."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.tasks import artifacts
from prefect_datasets.tasks.limits import Cell
from prefect_datasets.tasks.markdown import escaped, table
from prefect_datasets.tasks.run import Run
from prefect_datasets.valohai.plan import Outcome, StepPlan

_MOST_ROWS = 1_000
_MOST_COLUMNS = 20
_MOST_SHOWN = 50
_MOST_CHARACTERS = 200
_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 40


def show(run: Run, plan: StepPlan, outcome: Outcome) -> None:
    """Show in the Prefect UI what became of a step. Never fails the run."""
    key = f"step-{re.sub(r'[^a-z0-9]+', '-', plan.step.lower()).strip('-')}"
    ended = "failed" if outcome.error else "done"
    description = f"{plan.step}: {ended}, exit code {outcome.exit_code}"
    markdown = summary(plan, outcome)
    artifacts.create_markdown(run, key=key, markdown=markdown, description=description)
    if rows := series_rows(outcome.series):
        artifacts.create_table(
            run, key=f"{key}-metadata", rows=rows, description=f"{plan.step}: metadata"
        )


def series_rows(series: Mapping[str, Sequence[Any]]) -> list[dict[str, Cell]]:
    """Return the values of the longest series side by side, the newest of them in the last row."""
    longest = sorted(series, key=lambda name: -len(series[name]))[:_MOST_COLUMNS]
    if not longest:
        return []
    n_rows = min(len(series[longest[0]]), _MOST_ROWS)
    names = [name for name in series if name in longest]
    return [
        {"": row + 1, **{name: _cell(series[name], row - n_rows) for name in names}}
        for row in range(n_rows)
    ]


def _cell(values: Sequence[Any], from_the_end: int) -> Cell:
    if len(values) < -from_the_end:
        return ""
    value = values[from_the_end]
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return value if is_plain else json.dumps(value)


def summary(plan: StepPlan, outcome: Outcome) -> str:
    """Describe a run of a step in Markdown."""
    facts = [
        ("Execution", f"`{outcome.execution}`"),
        ("Exit code", str(outcome.exit_code)),
        ("Took", f"{outcome.seconds:.1f} s"),
        ("Outputs", _outputs(outcome)),
        ("Versions", ", ".join(f"`{record.uri}`" for record in outcome.versions) or "none"),
    ]
    if outcome.error:
        facts.insert(2, ("Error", str(outcome.error)))
    sections = [f"# {plan.step}", _table(("", ""), facts)]
    sections += _section("Metadata", ("key", "last value", "course"), _metadata(outcome))
    sections += _section("Parameters", ("parameter", "value"), _pairs(outcome.parameters))
    inputs = [(name, ", ".join(uris) or "empty") for name, uris in outcome.inputs.items()]
    sections += _section("Inputs", ("input", "brought from"), inputs)
    files = [
        (output.path, format_bytes(output.n_bytes), f"datum://{output.datum}")
        for output in outcome.outputs[:_MOST_SHOWN]
    ]
    sections += _section("Outputs", ("file", "size", "datum"), files)
    if len(outcome.outputs) > _MOST_SHOWN:
        sections.append(f"… and {len(outcome.outputs) - _MOST_SHOWN:,} more")
    return "\n\n".join(sections)


def _outputs(outcome: Outcome) -> str:
    n_bytes = sum(output.n_bytes for output in outcome.outputs)
    return f"{count(len(outcome.outputs), 'file')}, {format_bytes(n_bytes)}"


def _metadata(outcome: Outcome) -> list[tuple[str, str, str]]:
    return [
        (key, _text(value), course(outcome.series.get(key, ())))
        for key, value in list(outcome.metadata.items())[:_MOST_SHOWN]
    ]


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, _text(value)) for key, value in list(values.items())[:_MOST_SHOWN]]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def course(values: Sequence[Any]) -> str:
    """Draw a series of numbers as a line of bars, the newest ones to the right."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) < 2 or len(numbers) < len(values):
        return ""
    step = max(len(numbers) // _MOST_BARS, 1)
    shown = numbers[::-step][:_MOST_BARS][::-1]
    low, high = min(shown), max(shown)
    if low == high:
        return _BARS[0] * len(shown)
    return "".join(_BARS[round((each - low) / (high - low) * (len(_BARS) - 1))] for each in shown)


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"## {title}", _table(head, rows)] if rows else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table(head, [[escaped(cell) for cell in row] for row in rows])
