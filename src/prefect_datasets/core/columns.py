"""Between Arrow columns and numpy arrays, by their buffers.

`pyarrow.array`, `pyarrow.scalar` and `to_numpy` import pandas where it is installed, only to ask
whether it is pandas they were given: half a second that a resolve can do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_datasets.core import compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    if isinstance(column, pa.Array):
        return column
    match column.num_chunks:
        case 0:
            return pa.nulls(0, column.type)
        case 1:
            return column.chunk(0)
        case _:
            return pa.concat_arrays(column.chunks)


def numbers(column: pa.Array | pa.ChunkedArray, dtype: npt.DTypeLike = np.int64) -> Any:
    """Return a column of numbers of that type as it lies in memory; nulls are any number."""
    array = one_array(column)
    data = array.buffers()[1]
    if data is None or not len(array):
        return np.zeros(len(array), dtype)
    return np.frombuffer(data, dtype, len(array), array.offset * np.dtype(dtype).itemsize)


def codes(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Return the numbers of a dictionary's values, -1 for nulls."""
    found = numbers(column, np.int32)
    return np.where(is_valid(column), found, np.int32(-1)) if column.null_count else found


def mask(column: pa.Array | pa.ChunkedArray) -> Bools:
    """Return a column of booleans without nulls."""
    array = one_array(column)
    data = array.buffers()[1]
    if data is None or not len(array):
        return np.zeros(len(array), np.bool_)
    first, skipped = divmod(array.offset, 8)
    bits = np.frombuffer(data, np.uint8, offset=first)
    return np.unpackbits(bits, count=skipped + len(array), bitorder="little")[skipped:].view(
        np.bool_
    )


def is_valid(column: pa.Array | pa.ChunkedArray) -> Bools:
    """Tell which values are not null."""
    return mask(pc.is_valid(column))


def int64_array(values: Int64s) -> pa.Array:
    """Return an array of numbers for Arrow, without copying it."""
    return number_array(np.asarray(values, np.int64), pa.int64())


def number_array(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return an array of numbers that is of the type `kind` already, without copying it."""
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, data])


def bool_array(values: Bools) -> pa.Array:
    """Return a mask for Arrow."""
    data = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, data])


def mask_of_rows(rows: Int64s, n: int) -> Bools:
    """Return which of `n` rows these are."""
    values: Bools = np.zeros(n, np.bool_)
    values[rows] = True
    return values


def take(column: Any, rows: Int64s) -> Any:
    """Return the rows of a column or table."""
    return pc.take(column, int64_array(rows))


def pick(column: pa.Array, rows: Int64s) -> list[Any]:
    """Return rows of a column as a list; neighbours cost least."""
    if not len(rows):
        return []
    first = int(rows[0])
    if int(rows[-1]) - first + 1 == len(rows) and (np.diff(rows) == 1).all():
        return column.slice(first, len(rows)).to_pylist()
    return take(column, rows).to_pylist()


def strings(values: Iterable[str]) -> pa.Array:
    """Return texts as a column."""
    return binaries([value.encode() for value in values], pa.string())


def optional_strings(values: Sequence[str | None]) -> pa.Array:
    """Return texts as a column, null where there is none."""
    there = np.fromiter((value is not None for value in values), np.bool_, len(values))
    column = strings(value or "" for value in values)
    validity = pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.Array.from_buffers(pa.string(), len(values), [validity, *column.buffers()[1:]])


def binaries(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    """Return bytes as a column of the type `kind`, `pa.binary()` or `pa.string()`."""
    ends = np.zeros(len(values) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, values), np.int32, len(values)), out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def nulls(n: int, kind: pa.DataType) -> pa.Array:
    """Return a column of nulls that takes no memory until somebody looks at its values.

    What `pyarrow.nulls` returns is filled with zeros: 32 bytes for each digest that is not known.
    """
    widths = (4 * (n + 1), 0) if pa.types.is_string(kind) else (n * kind.bit_width // 8,)
    buffers = [pa.py_buffer(np.zeros(n_bytes, np.uint8)) for n_bytes in (-(-n // 8), *widths)]
    return pa.Array.from_buffers(kind, n, buffers, null_count=n)


def repeated(text: str, n: int) -> pa.Array:
    """Return a column that says the same `n` times."""
    return pc.take(strings([text]), number_array(np.zeros(n, np.int32), pa.int32()))


def text_ends(column: pa.Array) -> npt.NDArray[np.int32]:
    """Return where the texts of a column begin in its bytes, and where the last one ends."""
    if not len(column):
        return np.zeros(1, np.int32)
    return np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4)


def digest_matrix(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Return a column of digests as a matrix of bytes, 32 to a row, without copying it."""
    array = one_array(column)
    data = array.buffers()[1]
    if data is None or not len(array):
        return np.empty((0, 32), np.uint8)
    return np.frombuffer(data, np.uint8, len(array) * 32, array.offset * 32).reshape(-1, 32)


def digest_array(digests: Sequence[bytes]) -> pa.Array:
    """Return digests as a column."""
    data = pa.py_buffer(b"".join(digests))
    return pa.Array.from_buffers(pa.binary(32), len(digests), [None, data])
