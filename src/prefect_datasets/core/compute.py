"""The functions of Arrow, without `pyarrow.compute` where a resolve needs them.

That module writes a wrapper and its documentation for each of some 300 functions when it is
imported, which takes a quarter of a resolve's start. The methods of Arrow's arrays import it as
well: `take`, `filter`, `cast` and `dictionary_encode` stand here instead of them. What is not
written out here comes from there, when it is first asked for.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyarrow import _compute

_call = _compute.call_function


def __getattr__(name: str) -> Any:
    """Return another function of `pyarrow.compute`."""
    import pyarrow.compute as pc  # noqa: PLC0415  (see above)

    return getattr(pc, name)


def take(values: Any, rows: pa.Array) -> Any:
    """Return rows of a column or a table."""
    return _call("take", [values, rows], _compute.TakeOptions())


def filter_by(values: Any, mask: Any) -> Any:
    """Return the rows of a column or a table for which the mask says so."""
    return _call("filter", [values, mask], _compute.FilterOptions())


def cast(values: Any, kind: pa.DataType) -> Any:
    """Return a column as one of another type; what does not fit is an error."""
    return _call("cast", [values], _compute.CastOptions.safe(kind))


def dictionary_encode(values: Any) -> Any:
    """Return a column as numbers of its different values."""
    return _call("dictionary_encode", [values], _compute.DictionaryEncodeOptions())


def is_valid(values: Any) -> Any:
    """Tell which values are not null."""
    return _call("is_valid", [values])


def less(left: Any, right: Any) -> Any:
    """Tell where the left value is less than the right one."""
    return _call("less", [left, right])


def less_equal(left: Any, right: Any) -> Any:
    """Tell where the left value is not greater than the right one."""
    return _call("less_equal", [left, right])


def equal(left: Any, right: Any) -> Any:
    """Tell where both values are the same."""
    return _call("equal", [left, right])


def xor(left: Any, right: Any) -> Any:
    """Tell where just one is true."""
    return _call("xor", [left, right])


def or_(left: Any, right: Any) -> Any:
    """Tell where either is true."""
    return _call("or", [left, right])


def and_(left: Any, right: Any) -> Any:
    """Tell where both are true."""
    return _call("and", [left, right])


def invert(values: Any) -> Any:
    """Tell where the value is false."""
    return _call("invert", [values])


def any_(values: Any) -> bool:
    """Tell whether any value is true."""
    return bool(_call("any", [values]).as_py())


def least(values: Any) -> Any:
    """Return the least value, None where there is none."""
    return _call("min", [values]).as_py()


def binary_join_element_wise(*columns: Any) -> Any:
    """Return the texts of a row joined by that of the last column."""
    return _call("binary_join_element_wise", list(columns))


def binary_length(values: Any) -> Any:
    """Return how many bytes each value has."""
    return _call("binary_length", [values])


def unique(values: Any) -> Any:
    """Return the different values."""
    return _call("unique", [values])


def is_in(values: Any, value_set: pa.Array) -> Any:
    """Tell which values are among those of a set."""
    return _call("is_in", [values], _compute.SetLookupOptions(value_set, skip_nulls=False))


def if_else(condition: Any, left: Any, right: Any) -> Any:
    """Return the left value where the condition holds, else the right one."""
    return _call("if_else", [condition, left, right])
