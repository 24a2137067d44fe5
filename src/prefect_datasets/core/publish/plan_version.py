"""What a version will consist of: its rows, its parts, whether it is packaged. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import nulls, numbers
from prefect_datasets.core.format.record import Part, VersionRecord
from prefect_datasets.core.format.rows import ROWS
from prefect_datasets.core.globs import Globs
from prefect_datasets.core.uri import DatasetUri

if TYPE_CHECKING:
    from prefect_datasets.core.metadata.declarations import VersionDeclaration
    from prefect_datasets.core.store import Store

MAX_PACKAGE_BYTES = 1 << 30
# A part's rows are in memory at once while it is published: this bounds them.
MAX_PART_FILES = 250_000

AUTO_FILES = 1_000
AUTO_FILE_BYTES = 10_000_000
_ARCHIVES = "zip|tar|tgz|gz|bz2|xz|zst|7z|rar|vhpkgzip"

# A file of a version before it is published. `modified` (st_mtime_ns, or the stamp of an object) is
# null where the file is inherited: then the rest is its row in the base. Where it is set, the file
# lies on this machine or below a prefix, and sha256, datum and url, if they are set, name an object
# that was stored before at this path: if the content turns out the same, it is not sent again.
# `stamp` is kept for the next publish, if the file is an object that has one worth it.
SOURCES = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("modified", pa.int64()),
        *(pa.field(field.name, field.type) for field in list(ROWS)[2:]),
        pa.field("stamp", pa.int64()),
    ]
)

Packaging = bool | Literal["auto"] | None


@dataclass(frozen=True, slots=True)
class Policy:
    """How versions are published.

    Attributes:
        packaging: True, False or "auto"; None leaves it to `switch` and the metadata.
        switch: `VH_ENABLE_DATASET_VERSION_PACKAGING` where it is set: whether the metadata may ask.
        individual_files: Whether each file is also stored as an object of its own.
        max_package_bytes: Most content bytes in one package; a larger file has one to itself.
    """

    packaging: Packaging = None
    switch: bool | None = None
    individual_files: bool = True
    max_package_bytes: int = MAX_PACKAGE_BYTES


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a version is packaged, and what to say about it.

    Attributes:
        is_packaged: Whether it is.
        reason: Why, in a few words.
        is_refusal: Whether it was asked for otherwise; whoever publishes is told.
    """

    is_packaged: bool
    reason: str
    is_refusal: bool = False


@dataclass(frozen=True, slots=True)
class PartPlan:
    """One part to be published; it can be sent to another process that sees the same files.

    Attributes:
        uri: The version, or None for files that are in no version.
        execution: Id of the execution that publishes.
        index: Number of the part in the version, from 0.
        n_parts: How many parts the version has.
        root: Folder of the local files, or the URL of the prefix that they lie below.
        rows: The part's files, `SOURCES`.
        is_packaged: Whether a package is made.
        individual_files: Whether each local file is stored as an object of its own.
        earlier: Executions that tried before and may have left this part whole.
        committed: The part as it is committed, where only its package is to be made.
        origin: The store whose objects the local files are, its root being theirs; None for files
            of this machine.
        reference: The first eight bytes of each SHA-256 of the version that most who fetch this
            one will have, as sorted 64-bit integers; empty if there is none.
        base: The part of the base version that has the same paths, sizes and metadata; if the
            contents are the same too, it is taken as it is.
    """

    uri: DatasetUri | None
    execution: str
    index: int
    n_parts: int
    root: str
    rows: pa.Table
    is_packaged: bool
    individual_files: bool
    earlier: tuple[str, ...] = ()
    committed: Part | None = None
    origin: Store | None = None
    reference: bytes = b""
    base: Part | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the part's own rows, and of these what they say: they are a slice of a table."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return _unpacked, ({**values, "rows": _packed(self.rows)},)

    @property
    def n_files(self) -> int:
        """Number of files."""
        return self.rows.num_rows

    @property
    def n_bytes(self) -> int:
        """Sum of the files' sizes."""
        return pc.sum(self.rows["size"]).as_py() or 0


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """One version to be published.

    Attributes:
        declaration: What was asked for.
        execution: Id of the execution that publishes.
        parts: What is left to do; empty if the version exists with these files.
        decision: Whether it is packaged, and why.
        parent: URI of the base, aliases resolved; empty if there is none.
        earlier: Executions that tried to publish it before and did not end.
        existing: The version's record, if it exists with these files. Its `parts`, if there are
            any, are packages that are added to it.
        datum_aliases: Path of the file that each datum alias shall name.
    """

    declaration: VersionDeclaration
    execution: str
    parts: tuple[PartPlan, ...]
    decision: Decision
    parent: str = ""
    earlier: tuple[str, ...] = ()
    existing: VersionRecord | None = None
    datum_aliases: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def uri(self) -> DatasetUri:
        """The version."""
        return self.declaration.uri

    @property
    def n_files(self) -> int:
        """Number of files to be published."""
        return sum(part.n_files for part in self.parts)

    @property
    def n_bytes(self) -> int:
        """Sum of their sizes."""
        return sum(part.n_bytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a directory's files become.

    Attributes:
        execution: Id of the execution that publishes.
        versions: The versions, ordered by URI.
        loose: Parts of the files that are in no version; they are stored one by one.
        datum_aliases: Path of the loose file that each datum alias shall name.
        warnings: What the user should know, one line each.
    """

    execution: str
    versions: tuple[VersionPlan, ...]
    loose: tuple[PartPlan, ...]
    datum_aliases: Mapping[str, str]
    warnings: tuple[str, ...]


def _packed(rows: pa.Table) -> pa.Buffer:
    """Return rows as bytes, without columns that say nothing."""
    said = [name for name in rows.column_names if rows[name].null_count < rows.num_rows]
    sink = pa.BufferOutputStream()
    table = rows.select(said or ["path"])
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _unpacked(values: dict[str, Any]) -> PartPlan:
    rows = pa.ipc.open_stream(values["rows"]).read_all()
    return PartPlan(**{**values, "rows": as_sources(rows)})


def decide_packaging(policy: Policy, rows: pa.Table, *, asked: bool | None) -> Decision:
    """Decide whether a version with these rows is packaged; `asked` is what its metadata says."""
    if policy.packaging == "auto":
        return _decide_by_files(rows)
    if policy.packaging:
        return Decision(is_packaged=True, reason="as told")
    asked = asked and policy.packaging is None
    if asked and policy.switch is False:
        reason = "VH_ENABLE_DATASET_VERSION_PACKAGING is off"
        return Decision(is_packaged=False, reason=reason, is_refusal=True)
    if asked:
        return Decision(is_packaged=True, reason="the metadata asks for it")
    if not policy.individual_files:
        reason = "nothing asks for packages, so its files are stored one by one"
        return Decision(is_packaged=False, reason=reason, is_refusal=True)
    return _no("nothing asks for it")


def _decide_by_files(rows: pa.Table) -> Decision:
    n_files = rows.num_rows
    if n_files < AUTO_FILES:
        return _no(f"{n_files} files are fewer than {AUTO_FILES:,}")
    small = pc.sum(pc.less(rows["size"], AUTO_FILE_BYTES)).as_py()
    if small * 2 <= n_files:
        return _no(f"only {small} of {n_files} files are below 10 MB")
    pattern = rf"(?i)\.({_ARCHIVES})$"
    archives = pc.sum(pc.match_substring_regex(rows["path"], pattern)).as_py()
    if archives * 2 > n_files:
        return _no(f"{archives} of {n_files} files are archives already")
    return Decision(is_packaged=True, reason=f"{n_files} files, {small} of them below 10 MB")


def _no(reason: str) -> Decision:
    return Decision(is_packaged=False, reason=reason)


def inherit(base: pa.Table, exclude: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """Take the rows of a base version, less what `exclude` names.

    Returns:
        The rows that stay, and the patterns that matched nothing.
    """
    if not exclude:
        return base, []
    paths = base["path"].combine_chunks()
    globs = Globs(exclude).settled(paths)
    return base.filter(pc.invert(globs.filter(paths))), list(globs.unmatched(paths))


def merge_sources(
    inherited: pa.Table | None, local: pa.Table, *, stored: pa.Table | None = None
) -> pa.Table:
    """Unite inherited rows with files on this machine, which win on the same path.

    Args:
        inherited: `ROWS` of the base that stay, or None.
        local: path, size, modified and metadata of files on this machine.
        stored: All `ROWS` of the base: what of them is local again need not be sent again.

    Returns:
        `SOURCES`, in path order.
    """
    own = as_sources(local)
    if stored is not None:
        own = hint(own, stored)
    if inherited is None or not inherited.num_rows:
        return own
    kept = inherited.filter(pc.invert(pc.is_in(inherited["path"], own["path"].combine_chunks())))
    both = pa.concat_tables([own, as_sources(kept)])
    return both.take(pc.sort_indices(both["path"])).combine_chunks()


def hint(sources: pa.Table, stored: pa.Table) -> pa.Table:
    """Note for each local file what is stored at its path already, by `stored` (`ROWS`).

    An object that is a part of a package only is no hint: it can't be told apart later.
    """
    stored = stored.filter(pc.is_valid(stored["url"]))
    if not stored.num_rows:
        return sources
    is_local = pc.is_valid(sources["modified"])
    found = pc.index_in(sources["path"], stored["path"].combine_chunks())
    found = pc.if_else(is_local, found, pa.nulls(len(found), pa.int32()))
    known = pc.is_valid(found)
    for name in ("sha256", "crc32", "datum", "url"):
        column = pc.if_else(known, stored[name].combine_chunks().take(found), sources[name])
        sources = sources.set_column(
            sources.schema.get_field_index(name), SOURCES.field(name), column
        )
    return sources


def cut_parts(sources: pa.Table, max_package_bytes: int) -> Iterator[pa.Table]:
    """Cut rows into parts: in path order, by content bytes; a larger file is a part by itself."""
    ends = np.cumsum(numbers(sources["size"]), dtype=np.int64)
    low = 0
    while low < len(ends):
        before = int(ends[low - 1]) if low else 0
        full = int(np.searchsorted(ends, before + max_package_bytes, side="right"))
        high = max(min(full, low + MAX_PART_FILES), low + 1)
        yield sources.slice(low, high - low)
        low = high


def as_sources(rows: pa.Table) -> pa.Table:
    """Add the columns of `SOURCES` that are not there, empty."""
    columns = [
        rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else nulls(rows.num_rows, field.type)
        for field in SOURCES
    ]
    return pa.Table.from_arrays(columns, schema=SOURCES)
