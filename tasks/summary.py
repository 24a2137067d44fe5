"""What a run shows of a version it made: a summary, a table of its packages, an event."""

import re
from collections.abc import Sequence

from prefect_datasets.blocks.choice import DEFAULT_BLOCK, block_name
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.format.record import Part, VersionRecord
from prefect_datasets.core.progress import format_bytes
from prefect_datasets.tasks import artifacts
from prefect_datasets.tasks.events import announce_version
from prefect_datasets.tasks.run import Run

# A part has about a GiB, so this is a lot; a page with thousands of rows takes seconds to open.
_MOST_ROWS = 1_000
_MOST_MARKDOWN_ROWS = 50


def announce(
    run: Run, record: VersionRecord, *, store: DatasetStore, aliases: Sequence[str] = ()
) -> None:
    """Show a committed version in the Prefect UI and emit its event. Never fails the run.

    Args:
        run: The run that committed it.
        record: The version.
        store: Where it is.
        aliases: Names that were moved to it.
    """
    key = artifact_key(record.uri.dataset)
    description = f"{record.uri}: {record.n_files:,} files, {format_bytes(record.n_bytes)}"
    markdown = summary(record, store=store)
    artifacts.create_markdown(run, key=key, markdown=markdown, description=description)
    if record.packages:
        artifacts.create_table(
            run, key=f"{key}-packages", rows=package_rows(record), description=description
        )
    announce_version(run, record, aliases=aliases)


def artifact_key(dataset: str) -> str:
    """Return the key of a dataset's summaries, so that they form one history.

    Prefect allows lower case letters, digits and dashes only; names that become the same that way
    are told apart by nothing but the text.
    """
    return "dataset-" + re.sub(r"[^a-z0-9]+", "-", dataset).strip("-")


def package_rows(record: VersionRecord) -> list[dict[str, artifacts.Cell]]:
    """Return the packages as rows, one per package."""
    return [_package_row(number, part) for number, part in _packaged(record)[:_MOST_ROWS]]


def summary(record: VersionRecord, *, store: DatasetStore) -> str:
    """Describe a version in Markdown."""
    facts = [
        ("Version", f"`{record.uri}`"),
        ("Files", f"{record.n_files:,}"),
        ("Size", format_bytes(record.n_bytes)),
        ("Packages", f"{len(record.packages):,}" if record.packages else "none"),
        ("Made from", f"`{record.parent}`" if record.parent else "nothing: all files are its own"),
        ("Digest", f"`{record.digest}`"),
        ("Committed", record.created),
        ("Store", f"`{store.open().url}`"),
    ]
    sections = [
        f"# {record.uri.dataset} {record.uri.version}",
        _table(["", ""], facts),
        _packages_section(record),
        _use_section(record, store),
    ]
    return "\n\n".join(section for section in sections if section)


def _packages_section(record: VersionRecord) -> str:
    packaged = _packaged(record)
    if not packaged:
        return ""
    rows = [_package_row(number, part) for number, part in packaged[:_MOST_MARKDOWN_ROWS]]
    cells = [[str(cell) for cell in row.values()] for row in rows]
    more = len(packaged) - len(rows)
    end = f"\n\n… and {more:,} more, in the table of packages." if more else ""
    return "## Packages\n\n" + _table(list(rows[0]), cells) + end


def _use_section(record: VersionRecord, store: DatasetStore) -> str:
    name, url = block_name(store), store.open().url
    named = "" if name == DEFAULT_BLOCK else f', store="{name or url}"'
    return f"""## Use it

```python
from prefect_datasets import resolve_inputs

inputs = resolve_inputs({{"images": "{record.uri}"}}{named})
```

```bash
prefect-datasets resolve {record.uri} --store {url} --to images
```"""


def _packaged(record: VersionRecord) -> list[tuple[int, Part]]:
    return [(number, part) for number, part in enumerate(record.parts, 1) if part.package]


def _package_row(number: int, part: Part) -> dict[str, artifacts.Cell]:
    assert part.package is not None
    return {
        "package": f"{number}: {part.package.key.rpartition('/')[2]}",
        "files": part.n_files,
        "size": format_bytes(part.package.n_bytes),
        "first file": part.first,
        "last file": part.last,
        "datum": part.package.datum,
        "digest of its files": part.digest,
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Keep a file's name from ending the cell or the line it stands in."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
