"""The tables of a version as Parquet: one row per file (`rows.ROWS`), checked when they are read.

The encodings were chosen by measuring: sorted paths and keys share prefixes, offsets rise, digests
do not compress at all. pandas, DuckDB and every other reader of Parquet open them.

Neither reading nor writing here starts one of Arrow's threads. A process that ends while these
still run can die with SIGABRT, so keep to it: `pyarrow.parquet.read_table`, `Table.filter` with an
expression and joins with `use_threads=True` start them, `Table.filter` with a mask does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from prefect_datasets.core import compute as pc
from prefect_datasets.core.columns import (
    bool_array,
    mask,
    one_array,
    strings,
    take,
    text_ends,
)
from prefect_datasets.core.errors import IntegrityError, UnsupportedFormatError
from prefect_datasets.core.format.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT = 1
FORMAT_KEY = b"prefect-datasets.format"

# A reader that wants few rows reads one group; its share of the footer is 1 KB.
_GROUP_ROWS = 1 << 15

# The columns that dictionary encoding does not suit, and what does.
_ENCODINGS = {
    "path": "DELTA_BYTE_ARRAY",
    "size": "BYTE_STREAM_SPLIT",
    "sha256": "PLAIN",
    "crc32": "PLAIN",
    "datum": "DELTA_BYTE_ARRAY",
    "url": "DELTA_BYTE_ARRAY",
    "offset": "DELTA_BINARY_PACKED",
    "metadata": "PLAIN",
}
# Random bytes stay as they are: they don't get smaller, and so they are read without a copy.
_COMPRESSION = {name: "none" if name in ("sha256", "crc32") else "zstd" for name in ROWS.names}
# Hex digits want no search for matches, only their four bits each: level 1 beats level 9.
_LEVELS = {name: 1 if name == "datum" else 3 for name in ROWS.names if _COMPRESSION[name] == "zstd"}

_UNSAFE = r"(?:^|/)\.{0,2}(?:/|$)|[\x00-\x1f\x7f]"
_MOST_NAMED = 5
_SPACE, _DOT, _SLASH, _DELETE = b" ./\x7f"
_NOTHING, _ZERO = strings(["", "0"])  # "0" is the character behind "/"


def write_table(rows: pa.Table) -> pa.Buffer:
    """Write rows (`rows.ROWS`, in path order) as Parquet.

    The same rows give the same bytes, however they are cut into chunks, with the same release of
    pyarrow.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415  (0.1 s that a plan alone should not pay)

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        ROWS,
        version="2.6",
        use_dictionary=["package"],
        column_encoding=_ENCODINGS,
        compression=_COMPRESSION,
        compression_level=_LEVELS,
        write_statistics=["path"],
        store_schema=False,
    ) as writer:
        for start in range(0, rows.num_rows, _GROUP_ROWS):
            group = rows.slice(start, _GROUP_ROWS).combine_chunks()
            writer.write_table(group.cast(ROWS), row_group_size=_GROUP_ROWS)
        writer.add_key_value_metadata({FORMAT_KEY: str(FORMAT)})
    return sink.getvalue()


def read_table(
    data: bytes | bytearray | memoryview | pa.Buffer,
    *,
    key: str,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read and check a table that was stored at `key`.

    Args:
        data: The whole object.
        key: Its key, for errors.
        columns: Columns to return, in this order; all of them if left out.

    Raises:
        UnsupportedFormatError: A newer release wrote it.
        IntegrityError: It is no table of a version, or holds what none can hold.
    """
    rows = _read_parquet(data, key)
    faults = list(_row_faults(rows)) or path_faults(rows["path"])
    if faults:
        raise _damaged("; ".join(faults[:_MOST_NAMED]), key)
    return rows if columns is None else rows.select(list(columns))


def read_columns(data: bytes | memoryview, columns: Sequence[str], *, key: str) -> pa.Table:
    """Read columns of a table that was stored at `key` and is known to be as it was written."""
    return _read_parquet(data, key, list(columns))


def path_faults(paths: pa.Array | pa.ChunkedArray) -> list[str]:
    """Return what is wrong with the paths of a version, a line for each of the first few.

    Paths are relative, without `.`, `..`, empty or control parts, sorted by their bytes, each once,
    and none is a folder of another.
    """
    paths = one_array(paths)
    return [
        *_named("not a relative path", pc.filter_by(paths, is_unsafe(paths))),
        *_named("out of order or twice", _not_ascending(paths)),
        *_named("both a file and a folder", pc.filter_by(paths, is_folder(paths))),
    ]


def _not_ascending(paths: pa.Array) -> pa.Array:
    """Return the paths that are not greater than the one before."""
    return pc.filter_by(paths[1:], pc.less_equal(paths[1:], paths[:-1]))


def is_unsafe(paths: pa.Array) -> pa.Array:
    """Tell of each path whether it leaves its folder, is ambiguous, or has control characters."""
    if _are_plainly_safe(paths):
        return bool_array(np.zeros(len(paths), np.bool_))
    return pc.match_substring_regex(paths, _UNSAFE)


def _are_plainly_safe(paths: pa.Array) -> bool:
    """Tell whether no path can be unsafe, by the bytes of all at once; most often none can.

    A part of a path that is empty, `.` or `..` stands at its begin, at its end or behind a slash.
    """
    ends = text_ends(paths)
    letters = np.frombuffer(paths.buffers()[2] or b"", np.uint8)[ends[0] : ends[-1]]
    ends = ends - ends[0]
    if (np.diff(ends) == 0).any():
        return False
    begins_part = (letters == _SLASH) | (letters == _DOT)
    behind_slash = letters[:-1] == _SLASH
    return not (
        (behind_slash & begins_part[1:]).any()
        or begins_part[ends[:-1]].any()
        or (letters[ends[1:] - 1] == _SLASH).any()
        or ((letters < _SPACE) | (letters == _DELETE)).any()
    )


def _read_parquet(
    data: bytes | bytearray | memoryview | pa.Buffer, key: str, columns: list[str] | None = None
) -> pa.Table:
    import pyarrow.parquet as pq  # noqa: PLC0415  (see write_table)

    try:
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        _check_format(file.metadata.metadata or {}, key)
        if not file.schema_arrow.equals(ROWS):
            raise _damaged("it has other columns", key)
        rows = file.read(columns, use_threads=False)
        rows.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(str(error).split("\n", 1)[0], key) from error
    return rows.replace_schema_metadata()


def _check_format(metadata: dict[bytes, bytes], key: str) -> None:
    found = metadata.get(FORMAT_KEY, b"").decode(errors="replace")
    if not found.isascii() or not found.isdecimal():
        raise _damaged(f"it lacks {FORMAT_KEY.decode()}", key)
    if int(found) > FORMAT:
        raise UnsupportedFormatError(
            f"Written in format {found}, this release reads up to format {FORMAT}",
            subject=key,
            hint="Upgrade prefect-datasets.",
        )


def _row_faults(rows: pa.Table) -> Iterator[str]:
    """Yield what is wrong with the values, paths aside."""
    for field in ROWS:
        if not field.nullable and rows[field.name].null_count:
            yield f"{field.name} has nulls"
    for name in ("size", "offset"):
        least = pc.least(rows[name])
        if least is not None and least < 0:
            yield f"{name} has negative values"
    packaged = pc.is_valid(rows["package"])
    if pc.any_(pc.xor(packaged, pc.is_valid(rows["offset"]))):
        yield "package and offset do not come together"
    if pc.any_(pc.invert(pc.or_(packaged, pc.is_valid(rows["url"])))):
        yield "a file has neither url nor package"


def is_folder(paths: pa.Array) -> pa.Array:
    """Tell for each path, in path order, whether another path lies below it."""
    if not _may_have_folders(paths):
        return bool_array(np.zeros(len(paths), np.bool_))
    folders = [paths[:0]]
    below = paths
    while len(below := below.filter(pc.match_substring(below, "/"))):
        parents = pc.replace_substring_regex(below, pattern=r"/[^/]*$", replacement="")
        below = pc.unique(parents)
        folders.append(below)
    return pc.is_in(paths, value_set=pa.concat_arrays(folders))


def _may_have_folders(paths: pa.Array) -> bool:
    """Tell whether any path can be a folder of another, by the path behind each; most often no.

    What stands in order between `a` and `a/b` begins with `a` and a character up to the slash, so
    the path behind `a` is less than `a0`.
    """
    lengths = np.diff(text_ends(paths))
    rows = np.flatnonzero(lengths[1:] > lengths[:-1])
    beyond = pc.binary_join_element_wise(take(paths, rows), _ZERO, _NOTHING)
    return bool(mask(pc.less(take(paths, rows + 1), beyond)).any())


def _named(what: str, paths: pa.Array) -> list[str]:
    """Return a line for each of the first few paths that have a fault, and how many there are."""
    lines = [f"{what}: {path!r}" for path in paths[:_MOST_NAMED].to_pylist()]
    return [*lines, f"{what}: {len(paths)} in all"] if len(paths) > _MOST_NAMED else lines


def _damaged(why: str, key: str) -> IntegrityError:
    return IntegrityError(
        f"Not a table of a dataset version ({why})",
        subject=key,
        hint="Run `prefect-datasets verify --repair`, or publish under a new version name.",
    )
