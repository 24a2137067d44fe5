"""Look whether a version is whole in the store, and mend what another copy can mend.

quick  every table, package and single object is there with the right size
deep   every byte of both copies is read and compared with the digests of the version's tables
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import take
from prefect_datasets.core.errors import DatasetError, IntegrityError, NotFoundError
from prefect_datasets.core.format import keys, parts
from prefect_datasets.core.format.local_header import local_header
from prefect_datasets.core.format.package import Layout, directory, layout
from prefect_datasets.core.format.rows import ROWS, files_digest
from prefect_datasets.core.progress import NoProgress, Progress
from prefect_datasets.core.publish.pack import store_part
from prefect_datasets.core.publish.plan_pieces import Int64s
from prefect_datasets.core.publish.plan_version import PartPlan, as_sources
from prefect_datasets.core.reads import CostModel, Large, Places, Read, plan_fetch
from prefect_datasets.core.store import Range
from prefect_datasets.core.versions import catalog

if TYPE_CHECKING:
    from prefect_datasets.core.format.record import Part, VersionRecord
    from prefect_datasets.core.store import Store
    from prefect_datasets.core.uri import DatasetUri

_QUIET = NoProgress()
_COST = CostModel()


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
    progress.start(f"verifying {record.uri}", n_files=record.n_files, n_bytes=record.n_bytes)
    faults: list[Fault] = []
    read = 0
    digest_rows: list[pa.Table] = []
    for index, part in enumerate(record.parts):
        try:
            stored = parts.read_stored(store, part)
        except DatasetError as error:
            faults.append(Fault(part.table, "", error.message, index))
            continue
        rows = parts.in_package(stored, part)
        packages = [*_packages(part, rows, stored)]
        digest_rows.append(rows.select(["path", "size", "sha256"]))
        look = _look_deep if deep else _look_quick
        faults += look(store, packages, rows, index)
        if deep:
            read += pc.sum(rows.filter(pc.is_valid(rows["url"]))["size"]).as_py() or 0
            read += sum(pc.sum(package.rows["size"]).as_py() for package in packages)
        progress.advance(n_files=part.n_files, n_bytes=part.n_bytes)
    if len(digest_rows) == len(record.parts) and files_digest(digest_rows) != record.digest:
        problem = "the tables are not those of the version's digest"
        faults.append(Fault(keys.record_key(record.uri), "", problem, -1))
    repaired = _repair(store, record, faults) if repair else ()
    return Report(record.uri, record.n_files, read, tuple(faults), tuple(repaired))


@dataclass(frozen=True, slots=True)
class _Zip:
    """A zip in the store and what must be in it.

    Attributes:
        key: The object.
        rows: Its members (`ROWS`), in its order.
        elsewhere: The same with another place of their bytes; without a package where only the
            single object has them.
    """

    key: str
    rows: pa.Table
    elsewhere: pa.Table

    def layout(self) -> Layout:
        """Return where everything in it must be."""
        return layout(self.rows["path"], self.rows["size"])


def _packages(part: Part, rows: pa.Table, stored: pa.Table) -> Iterator[_Zip]:
    """Yield the package of a part, and where its new files lie together, if they do."""
    if part.package is not None:
        yield _Zip(part.package.key, rows, _outside(part.package.key, stored))
    if found := parts.together(stored, part):
        key, members = found
        yield _Zip(key, take(stored, members), take(rows, members))


def _outside(key: str, rows: pa.Table) -> pa.Table:
    """Return rows without those places that are in the object `key`."""
    is_there = pc.fill_null(pc.equal(rows["package"], key), fill_value=False)
    for name in ("package", "offset"):
        column = pc.if_else(is_there, pa.scalar(None, ROWS.field(name).type), rows[name])
        rows = rows.set_column(ROWS.get_field_index(name), ROWS.field(name), column)
    return rows


# -- quick ------------------------------------------------------------------------------------


def _look_quick(
    store: Store, packages: Sequence[_Zip], rows: pa.Table, index: int
) -> Iterator[Fault]:
    for package in packages:
        yield from _package_size(store, package, index)
    single = rows.filter(pc.is_valid(rows["url"]))
    sizes = _stored_sizes(store, single["url"])
    columns = (single[name].to_pylist() for name in ("url", "path", "size"))
    for url, path, size in zip(*columns, strict=True):
        found = sizes.get(url)
        if found is None:
            yield Fault(url, path, "the object is gone", index)
        elif found != size:
            yield Fault(url, path, f"the object has {found} bytes instead of {size}", index)


def _package_size(store: Store, package: _Zip, index: int) -> Iterator[Fault]:
    info, n_bytes = store.info(package.key), package.layout().n_bytes
    if info is None:
        yield Fault(package.key, "", "the package is gone", index)
    elif info.n_bytes != n_bytes:
        problem = f"the package has {info.n_bytes} bytes instead of {n_bytes}"
        yield Fault(package.key, "", problem, index)


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


def _look_deep(
    store: Store, packages: Sequence[_Zip], rows: pa.Table, index: int
) -> Iterator[Fault]:
    for package in packages:
        yield from _look_at_package(store, package, index)
    elsewhere = rows.slice(0, 0) if packages else rows.filter(pc.is_null(rows["url"]))
    yield from _look_at_contents(store, elsewhere, elsewhere["package"], elsewhere["offset"], index)
    single = rows.filter(pc.is_valid(rows["url"]))
    starts = pa.chunked_array([pa.array(np.zeros(single.num_rows, np.int64))])
    yield from _look_at_contents(store, single, single["url"], starts, index)


def _look_at_package(store: Store, package: _Zip, index: int) -> Iterator[Fault]:
    """Compare a package with what it must be: contents, headers, directory."""
    faults = list(_package_size(store, package, index))
    if faults:
        yield from faults
        return
    rows, plan = package.rows, package.layout()
    headers = [
        local_header(path.encode(), size, crc32)
        for path, size, crc32 in zip(
            *(rows[name].to_pylist() for name in ("path", "size", "crc32")), strict=True
        )
    ]
    starts = pa.chunked_array([pa.array(plan.header_offsets)])
    yield from _look_at_contents(store, rows, rows["package"], starts, index, headers)
    tail = directory(rows["path"], rows["size"], rows["crc32"], plan.header_offsets)
    if bytes(store.read_range(package.key, plan.directory_offset, len(tail))) != tail:
        yield Fault(package.key, "", "the directory of the package is damaged", index)


def _look_at_contents(
    store: Store,
    rows: pa.Table,
    keys_: pa.ChunkedArray,
    starts: pa.ChunkedArray,
    index: int,
    headers: Sequence[bytes] = (),
) -> Iterator[Fault]:
    """Read each file at `starts` of the objects `keys_`, behind its header, and compare it."""
    if not rows.num_rows:
        return
    headers = headers or [b""] * rows.num_rows
    paths, digests = rows["path"].to_pylist(), rows["sha256"].to_pylist()
    places = _places(keys_, starts.to_numpy(), rows["size"].to_numpy(), headers)
    plan = plan_fetch(places, _COST)
    for job in plan.jobs:
        for read, block in zip(job, _read_all(store, job), strict=True):
            for at in range(read.first, read.end):
                row, start = int(plan.order[at]), int(plan.starts[at]) - read.start
                found = _slice(block, start, int(places.sizes[row]))
                if problem := _problem([found], headers[row], digests[row]):
                    yield Fault(read.key, paths[row], problem, index)
    for file in plan.large:
        chunks = _chunks(store, file)
        if problem := _problem(chunks, headers[file.row], digests[file.row]):
            yield Fault(file.key, paths[file.row], problem, index)


def _places(
    keys_: pa.ChunkedArray, starts: Int64s, sizes: Int64s, headers: Sequence[bytes]
) -> Places:
    objects = keys_.combine_chunks().dictionary_encode()
    return Places(
        rows=np.arange(len(sizes), dtype=np.int64),
        keys=tuple(objects.dictionary.to_pylist()),
        objects=np.asarray(objects.indices, np.int64),
        starts=starts,
        sizes=sizes + np.array([len(header) for header in headers], np.int64),
    )


def _slice(block: memoryview | DatasetError, start: int, n_bytes: int) -> memoryview | DatasetError:
    return block if isinstance(block, DatasetError) else block[start : start + n_bytes]


def _chunks(store: Store, file: Large) -> Iterator[memoryview | DatasetError]:
    for start in range(0, file.n_bytes, _COST.request_bytes):
        length = min(_COST.request_bytes, file.n_bytes - start)
        yield _read_one(store, Range(file.key, file.start + start, length))


def _read_all(store: Store, job: Sequence[Read]) -> Sequence[memoryview | DatasetError]:
    """Return what each read gives, or its error."""
    ranges = [Range(read.key, read.start, read.length) for read in job]
    try:
        return store.read_many(ranges)
    except (IntegrityError, NotFoundError):
        return [_read_one(store, wanted) for wanted in ranges]


def _read_one(store: Store, wanted: Range) -> memoryview | DatasetError:
    try:
        return store.read_range(*wanted)
    except (IntegrityError, NotFoundError) as error:
        return error


def _problem(chunks: Iterable[memoryview | DatasetError], header: bytes, sha256: bytes) -> str:
    """Return what is wrong with a header and the content behind it, "" if nothing is."""
    found, start = hashlib.sha256(), len(header)
    for chunk in chunks:
        if isinstance(chunk, DatasetError):
            return chunk.message
        if start and bytes(chunk[:start]) != header:
            return "its header in the package is damaged"
        found.update(chunk[start:])
        start = 0
    return "" if found.digest() == sha256 else "the content is not what was published"


# -- repair -----------------------------------------------------------------------------------


def _repair(store: Store, record: VersionRecord, faults: Iterable[Fault]) -> list[str]:
    """Write damaged objects anew from the other copy; return their keys."""
    repaired: list[str] = []
    for index in sorted({fault.part for fault in faults if fault.part >= 0}):
        part = record.parts[index]
        here = [fault for fault in faults if fault.part == index]
        if any(fault.key == part.table for fault in here):
            continue
        stored = parts.read_stored(store, part)
        rows = parts.in_package(stored, part)
        packages = {package.key: package for package in _packages(part, rows, stored)}
        damaged = {fault.path for fault in here if fault.path and fault.key not in packages}
        repaired += _repair_objects(store, rows, damaged)
        for key in {fault.key: None for fault in here if fault.key in packages}:
            repaired += _repair_package(store, record, packages[key], index)
    return repaired


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
    store: Store, record: VersionRecord, package: _Zip, index: int
) -> Iterator[str]:
    """Write a package anew from the other copies: the same files give the same bytes."""
    rows = package.elsewhere
    if pc.any(pc.and_(pc.is_null(rows["url"]), pc.is_null(rows["package"]))).as_py():
        return
    plan = PartPlan(
        uri=record.uri,
        execution=package.key.split("/")[1],
        index=index,
        n_parts=len(record.parts),
        root="",
        rows=as_sources(rows),
        is_packaged=True,
        individual_files=True,
    )
    try:
        store_part(plan, store=store, progress=_QUIET, key=package.key)
    except (IntegrityError, NotFoundError):
        return
    yield package.key
