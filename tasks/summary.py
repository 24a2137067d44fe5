"""A committed version in Markdown, and its packages as rows: what a run shows of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prefect_datasets.block_names import DEFAULT_BLOCK
from prefect_datasets.blocks.choice import block_name
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.columns import Int64s
from prefect_datasets.core.format.record import Part, VersionRecord
from prefect_datasets.core.progress import count, format_bytes
from prefect_datasets.core.store import Store
from prefect_datasets.core.versions.changes import Amount, Changes
from prefect_datasets.tasks import pictures, savings
from prefect_datasets.tasks.limits import Cell, cut_text
from prefect_datasets.tasks.links import artifact_key, run_page, web_page
from prefect_datasets.tasks.markdown import code, plain, section, table

__all__ = ["Story", "artifact_key", "package_rows", "summary"]

# A part has about a GiB, so this is a lot; a page with thousands of rows takes seconds to open.
_MOST_ROWS = 1_000
_MOST_MARKDOWN_ROWS = 50
_MOST_URIS = 20
_SHOWN_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Story:
    """How a version came about, as far as it is known.

    Attributes:
        aliases: Names that were moved to it.
        seconds: How long the run worked on it.
        inputs: What the run that made it read: name -> URIs.
        flow_run: Id of that run.
        sizes: Size of each file.
        changes: What differs from its parent.
    """

    aliases: Sequence[str] = ()
    seconds: float | None = None
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    flow_run: str = ""
    sizes: Int64s | None = None
    changes: Changes | None = None


def summary(record: VersionRecord, story: Story, *, store: DatasetStore) -> str:
    """Describe a version in Markdown."""
    opened = store.open()
    sections = [
        f"# {record.uri.dataset} {record.uri.version}",
        table(["", ""], _facts(record, story, opened)),
        _changes_section(record, story),
        _savings_section(record, story),
        _sizes_section(story),
        _packages_section(record, opened),
        _lineage_section(record, story),
        _use_section(record, store),
    ]
    return "\n\n".join(section for section in sections if section)


def package_rows(record: VersionRecord, store: Store) -> list[dict[str, Cell]]:
    """Return the packages as rows, one per package."""
    return [_package_row(number, part, store) for number, part in _packaged(record)[:_MOST_ROWS]]


def _facts(record: VersionRecord, story: Story, store: Store) -> list[tuple[str, str]]:
    packed = sum(package.n_bytes for package in record.packages)
    packages = f"{len(record.packages):,}, {format_bytes(packed)}" if record.packages else "none"
    facts = [
        ("Version", code(str(record.uri))),
        ("Files", f"{record.n_files:,}"),
        ("Size", format_bytes(record.n_bytes)),
        ("Packages", packages),
        ("Made from", code(record.parent) if record.parent else "nothing: all files are its own"),
        ("Digest", code(record.digest)),
        ("Committed", f"{record.created[:19].replace('T', ' ')} UTC"),
        ("Store", code(store.url)),
    ]
    if story.aliases:
        facts.insert(1, ("Aliases", ", ".join(code(alias) for alias in story.aliases)))
    if story.seconds is not None:
        rate = format_bytes(round(record.n_bytes / max(story.seconds, 1e-3)))
        facts.insert(-1, ("Took", f"{story.seconds:,.1f} s, {rate}/s"))
    return facts


def _changes_section(record: VersionRecord, story: Story) -> str:
    changed = story.changes
    if changed is None:
        return ""
    amounts = {
        "same": changed.same,
        "changed": changed.changed,
        "added": changed.added,
        "removed": changed.removed,
    }
    rows = [(name, *_amount(amount)) for name, amount in amounts.items()]
    said = ", ".join(f"{amount.n_files:,} {name}" for name, amount in amounts.items())
    drawn = pictures.draw_changes(changed, old=record.parent, new=str(record.uri))
    return section(
        "What changed",
        pictures.markdown(drawn, says=f"Files: {said}"),
        table(["files", "number", "size"], rows),
        f"Compared with {code(record.parent)}. New contents: {format_bytes(changed.n_new_bytes)}.",
    )


def _savings_section(record: VersionRecord, story: Story) -> str:
    single = savings.one_by_one(record)
    ways = [("one by one", single)]
    if record.packages:
        ways.append(("by its packages", savings.by_packages(record)))
    if story.changes is not None:
        ways.append(("with its parent in the cache", savings.after_parent(record, story.changes)))
    if len(ways) == 1:
        return ""
    rows = [
        (way, f"{fetch.requests:,}", format_bytes(fetch.n_bytes), _seconds(fetch.seconds))
        for way, fetch in ways
    ]
    best = min((fetch for _, fetch in ways[1:]), key=lambda fetch: fetch.seconds)
    return section(
        "What it saves",
        table(["fetching its files", "requests", "bytes", "time"], rows),
        f"{saved(single, best)} {savings.ASSUMED}",
    )


def saved(single: savings.Fetch, best: savings.Fetch) -> str:
    """Say in a sentence what the best way saves against fetching file by file."""
    fewer, less = single.requests - best.requests, single.n_bytes - best.n_bytes
    said = [count(fewer, "request")] if fewer > 0 else []
    said += [format_bytes(less)] if less > 0 else []
    if not said:
        return "Saves neither requests nor bytes."
    return f"Saves whoever fetches it {' and '.join(said)}."


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _sizes_section(story: Story) -> str:
    if story.sizes is None or not len(story.sizes):
        return ""
    drawn = pictures.draw_sizes(story.sizes)
    least, most = format_bytes(int(story.sizes.min())), format_bytes(int(story.sizes.max()))
    says = f"{len(story.sizes):,} files from {least} to {most}"
    return section("Sizes of its files", pictures.markdown(drawn, says=says), says + ".")


def _packages_section(record: VersionRecord, store: Store) -> str:
    packaged = _packaged(record)
    if not packaged:
        return ""
    shown = packaged[:_MOST_MARKDOWN_ROWS]
    rows = [
        (
            _linked(f"{number}: {_name(part)}", web_page(store, part.package.key)),
            f"{part.n_files:,}",
            format_bytes(part.package.n_bytes),
            plain(cut_text(part.first, 80)),
            code(part.digest[:_SHOWN_DIGITS]),
        )
        for number, part in shown
        if part.package
    ]
    head = ["package", "files", "size", "first file", "digest of its files"]
    more = len(packaged) - len(shown)
    end = f"… and {more:,} more. " if more else ""
    end += "Whole digests and addresses are in the table of packages."
    return section("Packages", table(head, rows), end)


def _lineage_section(record: VersionRecord, story: Story) -> str:
    rows = [("parent", code(record.parent))] if record.parent else []
    rows += [
        (f"input {plain(name)}", code(uri)) for name, uris in story.inputs.items() for uri in uris
    ]
    more = len(rows) - _MOST_URIS
    shown = rows[:_MOST_URIS] + ([("", f"… and {more:,} more")] if more > 0 else [])
    if story.flow_run:
        shown.append(("run", _linked(story.flow_run, run_page(story.flow_run))))
    return section("Where it comes from", table(["", ""], shown) if shown else "")


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


def _package_row(number: int, part: Part, store: Store) -> dict[str, Cell]:
    assert part.package is not None, "only packaged parts are shown"
    return {
        "package": f"{number}: {_name(part)}",
        "files": part.n_files,
        "size": format_bytes(part.package.n_bytes),
        "first file": cut_text(part.first, 200),
        "last file": cut_text(part.last, 200),
        "datum": part.package.datum,
        "digest of its files": part.digest,
        "SHA-256 of its table": part.table_sha256,
        "address": store.url_of(part.package.key),
    }


def _name(part: Part) -> str:
    assert part.package is not None, "only packaged parts are shown"
    return part.package.key.rpartition("/")[2]


def _amount(amount: Amount) -> tuple[str, str]:
    return f"{amount.n_files:,}", format_bytes(amount.n_bytes)


def _linked(text: str, address: str) -> str:
    return f"[{plain(text)}]({address})" if address else plain(text)
