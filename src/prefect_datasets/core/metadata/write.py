"""Writing `valohai.metadata.jsonl`: what is said anew is merged with what is there."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_datasets.core.columns import mask, take
from prefect_datasets.core.errors import InvalidInputError, NoSpaceError
from prefect_datasets.core.globs import Globs
from prefect_datasets.core.metadata.cut import LINE
from prefect_datasets.core.metadata.declarations import check_alias, parse_base
from prefect_datasets.core.metadata.lines import (
    Block,
    ColumnsBuilder,
    cut_block,
    cut_line,
    find_rows,
    path_bytes,
    read_blocks,
)
from prefect_datasets.core.metadata.scan import (
    METADATA_FILE,
    UNFINISHED_PREFIX,
    check_directory,
    scan,
)
from prefect_datasets.core.metadata.texts import VERSIONS_KEY
from prefect_datasets.core.uri import DatasetUri, check_new_version_name

if TYPE_CHECKING:
    from pathlib import Path

_ROWS_AT_ONCE = 65536
_TEXTS_AT_MOST = 4096  # remembered at once: more distinct texts than this are not worth the memory
_NOT_MERGEABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode

_Uris = str | DatasetUri | Iterable[str | DatasetUri]
_Rows = npt.NDArray[np.int64]


def write_metadata(
    root: Path,
    uris: _Uris,
    *,
    packaging: bool | None = None,
    from_version: str | DatasetUri | None = None,
    exclude: str | Iterable[str] = (),
    aliases: str | Iterable[str] = (),
    files: str | Iterable[str] = "**",
    tags: str | Iterable[str] = (),
    properties: Mapping[str, Any] | None = None,
) -> int:
    """Say in `valohai.metadata.jsonl` that files below `root` go into dataset versions.

    What the file says already stays: of other files, of other versions, and of these versions
    whatever is not said anew. Other processes and threads may call this for the same directory at
    the same time.

    Args:
        root: The directory of the outputs.
        uris: The versions, one or many.
        packaging: Whether to package them; None says nothing.
        from_version: The version whose files they inherit.
        exclude: Paths and globs of inherited files to leave out.
        aliases: Dataset aliases to be moved to them.
        files: Paths and globs of the files meant; all of them unless told.
        tags: Tags of the versions.
        properties: Properties of the versions: any JSON.

    Returns:
        The number of files that match `files`. With `from_version` there may be none: the
        versions are declared all the same, with the inherited files alone.

    Raises:
        InvalidInputError: A name is wrong, no file matches, or a file can't be published.
    """
    said = _entry(
        packaging=packaging,
        base=None if from_version is None else str(from_version),
        exclude=_listed(exclude),
        aliases=_listed(aliases),
        tags=_listed(tags),
        properties=dict(properties or {}),
    )
    versions = _checked(uris, said)
    globs = Globs(files)
    check_directory(root)
    with _locked(root):
        paths = scan(root).listing.column("path")
        rows = np.flatnonzero(mask(globs.filter(paths)))
        if len(rows) == 0 and from_version is None:
            raise InvalidInputError(
                "No file matches " + ", ".join(map(repr, globs.patterns)),
                subject=str(root),
                hint="Write the files first, or correct `files`.",
            )
        _rewrite(root, paths, rows, _Addition(versions, alone=len(rows) == 0))
    return len(rows)


def _entry(
    *,
    packaging: bool | None,
    base: str | None,
    exclude: list[str],
    aliases: list[str],
    tags: list[str],
    properties: dict[str, Any],
) -> dict[str, Any]:
    """Return what is said besides the URI, by the keys of the metadata."""
    said: dict[str, Any] = {}
    if packaging is not None:
        said["packaging"] = packaging
    if base is not None:
        said["from"] = base
    lists = {"exclude": exclude, "targeting_aliases": aliases, "valohai.tags": tags}
    said |= {key: values for key, values in lists.items() if values}
    return said | ({"metadata": properties} if properties else {})


def _listed(values: str | Iterable[str]) -> list[str]:
    return [values] if isinstance(values, str) else list(values)


def _checked(uris: _Uris, said: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Check everything that is said; return it by URI."""
    given = [uris] if isinstance(uris, str | DatasetUri) else list(uris)
    if not given:
        raise InvalidInputError("No version named", hint="Give at least one dataset version URI.")
    Globs(said.get("exclude", ()))
    for item in given:
        uri = DatasetUri.parse(str(item))
        check_new_version_name(uri)
        if "from" in said:
            parse_base(said["from"], uri)
        for alias in said.get("targeting_aliases", ()):
            check_alias(alias, uri)
    try:
        json.dumps(said, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            "`properties` can't be written as JSON", hint=f"{error}."
        ) from error
    return {str(item): said for item in given}


@dataclass(slots=True)
class _Addition:
    """What is said of versions anew, and how it merges with what is there.

    Attributes:
        versions: By URI, what is said besides.
        alone: Whether it is said of no file at all.
    """

    versions: dict[str, dict[str, Any]]
    alone: bool
    _merged: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])

    def metadata(self) -> bytes:
        """Return the metadata of a file of which nothing was said before, as JSON."""
        return _encoded(self.merge(None))

    def name(self, line: bytes) -> bytes | None:
        """Return the path that a line speaks of; None for one that nothing can be added to."""
        if (cut := cut_line(line)) is not None and self.merged(cut[1]) is not None:
            return cut[0]
        try:
            body = json.loads(line)
            self.merge(body["metadata"])
            return path_bytes(body["file"])
        except _NOT_MERGEABLE:
            return None

    def line(self, line: bytes) -> bytes:
        """Return a line that has a name, with the addition."""
        match = LINE.fullmatch(line)
        if match is not None and (text := self.merged(match[4])) is not None:
            return match[1] + match[2] + match[3] + text + match[5]
        body = json.loads(line)
        return _encoded({**body, "metadata": self.merge(body["metadata"])})

    def merged(self, text: bytes) -> bytes | None:
        """Return the JSON of a file's metadata with the addition; None if it is no JSON object."""
        if (merged := self._merged.get(text)) is None:
            try:
                merged = _encoded(self.merge(json.loads(text)))
            except _NOT_MERGEABLE:
                return None
            if len(self._merged) < _TEXTS_AT_MOST:
                self._merged[text] = merged
        return merged

    def merge(self, metadata: object) -> dict[str, Any]:
        """Return a file's metadata with the addition.

        Raises:
            ValueError: `metadata` is no object.
        """
        if metadata is not None and not isinstance(metadata, dict):
            raise ValueError("the metadata is not an object")
        merged = dict(cast("dict[str, Any]", metadata or {}))
        there: Any = merged.get(VERSIONS_KEY) or []
        items: list[Any] = [*there] if isinstance(there, list) else [there]
        for uri, said in self.versions.items():
            at = next((at for at, item in enumerate(items) if _uri_of(item) == uri), len(items))
            before = items[at] if at < len(items) and isinstance(items[at], dict) else {"uri": uri}
            both = {**before, **said}
            items[at : at + 1] = [both if len(both) > 1 else uri]
        return {**merged, VERSIONS_KEY: items}


def _uri_of(item: object) -> object:
    return cast("dict[str, object]", item).get("uri") if isinstance(item, dict) else item


def _encoded(value: object) -> bytes:
    """Return `value` as one line of JSON."""
    try:
        return _ENCODE(value).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can write
        return json.dumps(value).encode()


def _rewrite(root: Path, paths: pa.ChunkedArray, rows: _Rows, addition: _Addition) -> None:
    """Write the file anew with the addition to the given rows; replace the old one in one step."""
    target = root / METADATA_FILE
    private = root / f"{UNFINISHED_PREFIX}{uuid.uuid4()}"
    try:
        with private.open("xb", buffering=1 << 20) as out:
            if target.exists():
                rows = _write_merged(target, out, paths, rows, addition)
            _write_new(out, paths, rows, addition)
        private.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(
                "No space left to write metadata", subject=str(target), hint="Free some space."
            ) from error
        raise
    finally:
        private.unlink(missing_ok=True)


def _write_merged(
    target: Path, out: BinaryIO, paths: pa.ChunkedArray, rows: _Rows, addition: _Addition
) -> _Rows:
    """Copy the lines there are, with the addition where they speak of `rows`.

    Returns:
        The rows that no line speaks of.
    """
    line_of_row = _lines_of_rows(target, paths, addition)
    changed = np.zeros(int(line_of_row.max(initial=0)) + 1, np.bool_)
    changed[line_of_row[rows]] = True
    changed[0] = False
    with target.open("rb") as stream:
        out.writelines(_merged_block(block, changed, addition) for block in read_blocks(stream))
    return rows[line_of_row[rows] == 0]


def _lines_of_rows(target: Path, paths: pa.ChunkedArray, addition: _Addition) -> _Rows:
    """Return for each row the last line that speaks of it and can be added to, 0 for none."""
    builder = ColumnsBuilder()
    with target.open("rb") as stream:
        for block in read_blocks(stream):
            if (run := cut_block(block)) is not None and addition.merged(run.text) is not None:
                builder.add_run(run.names, block.line, 0, None)
                continue
            for number, line in block.numbered():
                if name := addition.name(line):
                    builder.add(name, number, 0, None)
    there = builder.finish()
    line_of_row = np.zeros(len(paths) + 1, np.int64)
    line_of_row[find_rows(there.names, paths)] = there.lines  # a later line replaces an earlier one
    return line_of_row[:-1]  # lines of no row, -1, were written to the end


def _merged_block(block: Block, changed: npt.NDArray[np.bool_], addition: _Addition) -> bytes:
    """Return a block with the addition to the lines marked as changed."""
    marks = changed[block.line : block.line + block.text.count(b"\n")]
    if not marks.any():
        return _ended(block.text)
    run = cut_block(block) if marks.all() and len(marks) else None
    if run is not None and len(run.names) == len(marks):
        text = addition.merged(run.text)
        if text is not None:
            end = run.between + text + run.after
            return run.before + (end + run.before).join(run.names) + end
    return b"".join(
        _ended(addition.line(line) if number < len(changed) and changed[number] else line)
        for number, line in block.numbered()
    )


def _ended(line: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + b"\n"


def _write_new(out: BinaryIO, paths: pa.ChunkedArray, rows: _Rows, addition: _Addition) -> None:
    """Write one line for each of `rows`."""
    metadata = addition.metadata()
    if addition.alone:
        out.write(b'{"file": null, "metadata": %b}\n' % metadata)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        names = take(paths, rows[start : start + _ROWS_AT_ONCE]).to_pylist()
        out.writelines(
            b'{"file": %b, "metadata": %b}\n' % (_ENCODE(name).encode(), metadata) for name in names
        )


@contextmanager
def _locked(root: Path) -> Generator[None]:
    """Let others that write the same directory's metadata wait.

    The lock is on the directory itself, so nothing is left behind. Where the file system knows no
    locks, two writers at once may lose what one of them said.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
