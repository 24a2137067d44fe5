"""Cut lines of `valohai.metadata.jsonl` into names and texts, all lines of a block at once."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_datasets.core.columns import binaries, mask, take, text_ends

# What a line looks like that `json.dump` or `JSON.stringify` wrote, with the file first. Where the
# fourth group is JSON by itself, the line is exactly this object.
LINE = re.compile(
    rb'(\s*\{\s*"file"\s*:\s*)("[^"\\]*(?:\\.[^"\\]*)*")(\s*,\s*"metadata"\s*:\s*)(.*)(\}\s*)',
    re.DOTALL,
)


class Cut(NamedTuple):
    """The lines of a block.

    Attributes:
        names: The path that each line names: a binary array.
        texts: The metadata of each line: a dictionary-encoded binary array.
    """

    names: pa.Array
    texts: pa.Array


def cut_alike(text: bytes) -> Cut | None:
    """Cut lines that differ in name and metadata alone; None where any has another form.

    What the first line has before its name, between name and metadata, and behind them, each line
    has. A name has no quote and no backslash, so the first text between is the end of the name.
    """
    text = text if text.endswith(b"\n") else text + b"\n"
    form = LINE.fullmatch(text, 0, text.find(b"\n") + 1)
    if form is None:
        return None
    before, between, after = form[1] + b'"', b'"' + form[3], form[5]
    if not text.endswith(after) or text.count(after + before) + 1 != text.count(b"\n"):
        return None
    inner = binaries([text[len(before) : -len(after)]], pa.binary())
    lines = pc.split_pattern(inner, after + before).flatten()
    if not mask(pc.match_substring(lines, between)).all():
        return None
    halves = pc.split_pattern(lines, between, max_splits=1).flatten()
    rows = np.arange(0, len(halves), 2)
    names = take(halves, rows)
    if not _are_plain(names):
        return None
    return Cut(names, take(halves, rows + 1).dictionary_encode())


def _are_plain(names: pa.Array) -> bool:
    """Tell whether no name is empty or has a quote or a backslash."""
    ends = text_ends(names)
    letters = bytes(memoryview(names.buffers()[2] or b"")[ends[0] : ends[-1]])
    return bool(np.diff(ends).all()) and b'"' not in letters and b"\\" not in letters
