"""Look whether a version is whole in the store, and mend what another copy can mend.

quick  every table, package and single object is there with the right size
deep   every byte of both copies is read and compared with the digests of the version's tables
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core import catalog, keys, parts
from prefect_datasets.core.errors import DatasetError, IntegrityError, NotFoundError
from prefect_datasets.core.pack import store_part
from prefect_datasets.core.package import directory, layout
from prefect_datasets.core.plan_version import PartPlan, as_sources
from prefect_datasets.core.progress import NoProgress, Progress
from prefect_datasets.core.rows import ROWS, files_digest
from prefect_datasets.core.store import Range

if TYPE_CHECKING:
    from prefect_datasets.core.record import Part, VersionRecord
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.uri import DatasetUri

_QUIET = NoProgress()
_READ_BYTES = 8 << 20
_READ_FILES = 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was published.

    Attributes:
        key: The object.
        path: The file in it, or an empty string for the object as a whole.
        problem: What is wrong.
        part: Number of the part it belongs to.
    """

    key: str
    path: str
    problem: str
    part: int


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        uri: The version.
        n_files: Number of files looked at.
        n_bytes: Bytes read, of both copies.
        faults: Everything that is wrong.
        repaired: Keys of the objects that were written anew.
    """

    uri: DatasetUri
    n_files: int
    n_bytes: int
    faults: tuple[Fault, ...]
    repaired: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong, or nothing any more."""
        return {fault.key for fault in self.faults} <= set(self.repaired)


def verify(
    uri: DatasetUri,
    *,
    store: Store,
    deep: bool = False,
    repair: bool = False,
    progress: Progress = _QUIET,
) -> Report:
    """Look whether the version is whole.

    Args:
        uri: The version, an alias or `latest`.
        store: The store.
        deep: Read every byte; else look at sizes only.
        repair: Write damaged objects anew from the other copy, where that is right.
        progress: Is told.

    Raises:
        NotFoundError: There is no such version.
    """
    record = catalog.find(store, uri)
    factor = 2 if deep else 1
    progress.start(f"verifying {record.uri}", n_files=record.n_files, n_bytes=record.n_bytes)
    faults: list[Fault] = []
    read = 0
    digest_rows: list[pa.Table] = []
    for index, part in enumerate(record.parts):
        try:
            rows = parts.read_part(store, part)
        except DatasetError as error:
            faults.append(Fault(part.table, "", error.message, index))
            continue
        digest_rows.append(rows.select(["path", "size", "sha256"]))
        look = _look_deep if deep else _look_quick
        faults += look(store, part, rows, index)
        read += part.n_bytes * factor if deep else 0
        progress.advance(n_files=part.n_files, n_bytes=part.n_bytes)
    if len(digest_rows) == len(record.parts) and files_digest(digest_rows) != record.digest:
        problem = "the tables are not those of the version's digest"
        faults.append(Fault(keys.record_key(record.uri), "", problem, -1))
    repaired = _repair(store, record, faults) if repair else ()
    return Report(record.uri, record.n_files, read, tuple(faults), tuple(repaired))


# -- quick ------------------------------------------------------------------------------------


def _look_quick(store: Store, part: Part, rows: pa.Table, index: int) -> Iterator[Fault]:
    yield from _package_size(store, part, index)
    single = rows.filter(pc.is_valid(rows["url"]))
    sizes = _stored_sizes(store, single["url"])
    columns = (single[name].to_pylist() for name in ("url", "path", "size"))
    for url, path, size in zip(*columns, strict=True):
        found = sizes.get(url)
        if found is None:
            yield Fault(url, path, "the object is gone", index)
        elif found != size:
            yield Fault(url, path, f"the object has {found} bytes instead of {size}", index)


def _package_size(store: Store, part: Part, index: int) -> Iterator[Fault]:
    if part.package is None:
        return
    info = store.info(part.package.key)
    if info is None:
        yield Fault(part.package.key, "", "the package is gone", index)
    elif info.n_bytes != part.package.n_bytes:
        problem = f"the package has {info.n_bytes} bytes instead of {part.package.n_bytes}"
        yield Fault(part.package.key, "", problem, index)


def _stored_sizes(store: Store, urls: pa.ChunkedArray) -> dict[str, int]:
    """Return the sizes of objects, by listing the executions that wrote them."""
    wanted = set(urls.to_pylist())
    executions = {url.split("/")[1] for url in wanted}
    found: dict[str, int] = {}
    for execution in sorted(executions):
        for info in store.list(keys.files_prefix(execution)):
            if info.key in wanted:
                found[info.key] = info.n_bytes
    return found


# -- deep -------------------------------------------------------------------------------------


def _look_deep(store: Store, part: Part, rows: pa.Table, index: int) -> Iterator[Fault]:
    if part.package is not None:
        yield from _look_at_package(store, part, rows, index)
    elif pc.any(pc.is_null(rows["url"])).as_py():
        inherited = rows.filter(pc.is_null(rows["url"]))
        yield from _look_at_ranges(store, inherited, index)
    single = rows.filter(pc.is_valid(rows["url"]))
    starts = pa.array(np.zeros(single.num_rows, np.int64))
    single = single.set_column(ROWS.get_field_index("package"), "package", single["url"])
    single = single.set_column(ROWS.get_field_index("offset"), "offset", starts)
    yield from _look_at_ranges(store, single, index)


def _look_at_package(store: Store, part: Part, rows: pa.Table, index: int) -> Iterator[Fault]:
    """Compare a package with what it must be, byte by byte: contents, headers, directory."""
    package = part.package
    assert package is not None
    plan = layout(rows["path"], rows["size"])
    faults = list(_package_size(store, part, index))
    if faults:
        yield from faults
        return
    yield from _look_at_ranges(store, rows, index)
    tail = directory(rows["path"], rows["size"], rows["crc32"], plan.header_offsets)
    try:
        stored = store.read_range(package.key, plan.directory_offset, len(tail))
    except DatasetError as error:
        yield Fault(package.key, "", error.message, index)
        return
    if stored != tail:
        yield Fault(package.key, "", "the directory of the package is damaged", index)


def _look_at_ranges(store: Store, rows: pa.Table, index: int) -> Iterator[Fault]:
    """Read each file where `package` and `offset` say, and compare its digest."""
    for batch in _batches(rows):
        columns = [batch[name].to_pylist() for name in ("package", "offset", "size", "path", "sha256")]
        members = [_Member(*row) for row in zip(*columns, strict=True)]
        for member, problem in zip(members, _problems(store, members), strict=True):
            if problem:
                yield Fault(member.key, member.path, problem, index)


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    offset: int
    size: int
    path: str
    sha256: bytes


def _batches(rows: pa.Table) -> Iterator[pa.Table]:
    ends = np.cumsum(rows["size"].to_numpy(), dtype=np.int64)
    low = 0
    while low < len(ends):
        before = int(ends[low - 1]) if low else 0
        full = int(np.searchsorted(ends, before + 4 * _READ_BYTES, side="right"))
        high = max(min(full, low + _READ_FILES), low + 1)
        yield rows.slice(low, high - low)
        low = high


def _problems(store: Store, members: list[_Member]) -> list[str]:
    """Return what is wrong with each member, an empty string where nothing is."""
    small = [member for member in members if member.size <= 4 * _READ_BYTES]
    try:
        ranges = [Range(member.key, member.offset, member.size) for member in small]
        contents = store.read_many(ranges)
    except (IntegrityError, NotFoundError):
        return [_problem(store, member) for member in members]
    fine = {
        member.path
        for member, content in zip(small, contents, strict=True)
        if hashlib.sha256(content).digest() == member.sha256
    }
    return ["" if member.path in fine else _problem(store, member) for member in members]


def _problem(store: Store, member: _Member) -> str:
    sha256 = hashlib.sha256()
    try:
        for start in range(0, member.size, _READ_BYTES):
            length = min(_READ_BYTES, member.size - start)
            sha256.update(store.read_range(member.key, member.offset + start, length))
        if not member.size and store.info(member.key) is None:
            return "the object is gone"
    except (IntegrityError, NotFoundError) as error:
        return error.message
    return "" if sha256.digest() == member.sha256 else "the content is not what was published"


# -- repair -----------------------------------------------------------------------------------


def _repair(store: Store, record: VersionRecord, faults: Iterable[Fault]) -> list[str]:
    """Write damaged objects anew from the other copy; return their keys."""
    repaired: list[str] = []
    for index in sorted({fault.part for fault in faults if fault.part >= 0}):
        part = record.parts[index]
        here = [fault for fault in faults if fault.part == index]
        if any(fault.key == part.table for fault in here):
            continue
        rows = parts.read_part(store, part)
        damaged = {fault.path for fault in here if fault.path and not _is_package(part, fault)}
        repaired += _repair_objects(store, rows, damaged)
        if part.package and any(_is_package(part, fault) for fault in here):
            repaired += _repair_package(store, record, part, rows, index)
    return repaired


def _is_package(part: Part, fault: Fault) -> bool:
    return part.package is not None and fault.key == part.package.key


def _repair_objects(store: Store, rows: pa.Table, paths: set[str]) -> Iterator[str]:
    """Write single objects anew from the package."""
    chosen = rows.filter(pc.is_in(rows["path"], pa.array(sorted(paths), pa.string())))
    for row in chosen.to_pylist():
        if row["package"] is None or row["url"] is None:
            continue
        try:
            content = store.read_range(row["package"], row["offset"], row["size"])
        except DatasetError:
            continue
        if hashlib.sha256(content).digest() == row["sha256"]:
            store.write(row["url"], content)
            yield row["url"]


def _repair_package(
    store: Store, record: VersionRecord, part: Part, rows: pa.Table, index: int
) -> Iterator[str]:
    """Write a package anew from the single objects: the same files give the same bytes."""
    assert part.package is not None
    if rows["url"].null_count:
        return
    nothing = {name: pa.nulls(rows.num_rows, ROWS.field(name).type) for name in ("package", "offset")}
    for name, column in nothing.items():
        rows = rows.set_column(ROWS.get_field_index(name), ROWS.field(name), column)
    plan = PartPlan(
        uri=record.uri,
        execution=part.package.key.split("/")[1],
        index=index,
        n_parts=len(record.parts),
        root="",
        rows=as_sources(rows),
        is_packaged=True,
        individual_files=True,
    )
    try:
        store_part(replace(plan), store=store, progress=_QUIET)
    except (IntegrityError, NotFoundError):
        return
    yield part.package.key
