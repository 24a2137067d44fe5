"""What retention shows: which versions stay, which go, and what that frees."""

from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.core.versions.retention import Doomed, Retention
from prefect_datasets.tasks import artifacts
from prefect_datasets.tasks.markdown import code, section, table

_MOST_ROWS = 1_000
_MOST_MARKDOWN_ROWS = 50


def retention_rows(planned: Retention) -> list[dict[str, artifacts.Cell]]:
    """Return the versions that go as rows, the newest first."""
    return [_row(each) for each in planned.doomed[:_MOST_ROWS]]


def retention_summary(planned: Retention, *, apply: bool) -> str:
    """Say in Markdown what goes, what that frees, and why the others stay."""
    n_kept, n_doomed = len(planned.kept), len(planned.doomed)
    whole = sum(each.record.n_bytes for each in planned.doomed)
    facts = [
        ["Versions that stay", f"{n_kept:,}"],
        ["Versions that go", f"{n_doomed:,}"],
        ["Their files together", format_bytes(whole)],
        ["Of it, nothing else needs", format_bytes(planned.n_freed_bytes)],
        ["Done", "yes" if apply else "no: this only shows it"],
    ]
    return "\n\n".join(
        each
        for each in (
            f"# Retention of {planned.dataset}: the newest {planned.keep}",
            table(["", ""], facts),
            _going(planned),
            _staying(planned),
        )
        if each
    )


def _going(planned: Retention) -> str:
    if not planned.doomed:
        return ""
    rows = [
        [code(each.record.uri.version), *map(str, list(_row(each).values())[1:])]
        for each in planned.doomed[:_MOST_MARKDOWN_ROWS]
    ]
    return section("Go", table(list(_row(planned.doomed[0])), rows), _more(len(planned.doomed)))


def _staying(planned: Retention) -> str:
    shown = list(planned.kept.items())[:_MOST_MARKDOWN_ROWS]
    rows = [[code(version), why] for version, why in shown]
    return section("Stay", table(["version", "why"], rows), _more(len(planned.kept)))


def _more(n_versions: int) -> str:
    more = n_versions - _MOST_MARKDOWN_ROWS
    return f"… and {count(more, 'version')} more." if more > 0 else ""


def _row(each: Doomed) -> dict[str, artifacts.Cell]:
    return {
        "version": each.record.uri.version,
        "due": f"{each.due.due:%Y-%m-%d %H:%M} UTC",
        "files": each.record.n_files,
        "size": format_bytes(each.record.n_bytes),
        "frees": format_bytes(each.n_freed_bytes),
        "objects": each.n_freed_objects,
    }
