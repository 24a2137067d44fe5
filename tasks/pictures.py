"""Pictures for summaries: SVG drawn as text, put into Markdown as a data URI.

Colours stand on a white card, because a picture in a page does not know whether the page is dark.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from prefect_datasets.core.columns import Int64s
from prefect_datasets.core.progress import format_bytes
from prefect_datasets.core.versions.changes import Amount, Changes

_WIDTH = 720
_MARGIN = 24
_FONT = "font-family='system-ui,-apple-system,Segoe UI,Helvetica,Arial,sans-serif'"
_INK, _FAINT, _LINE = "#1f2937", "#6b7280", "#e5e7eb"
_FILES, _BYTES = "#2563eb", "#f59e0b"
_SAME, _CHANGED, _ADDED, _REMOVED = "#cbd5e1", "#f59e0b", "#16a34a", "#dc2626"

_MOST_BARS = 14
# Edges of bars: powers of ten times these, the finest that gives few enough bars.
_STEPS = ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))
_PLOT_HEIGHT = 150
_SLIVER = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """Files of about one size.

    Attributes:
        low: Least size.
        high: Size that none of them reaches.
        amount: How many there are.
    """

    low: int
    high: int
    amount: Amount


def markdown(svg: str, *, says: str) -> str:
    """Return Markdown that shows a picture.

    Args:
        svg: The picture.
        says: What it shows, for who can't see it.
    """
    data = base64.b64encode(svg.encode()).decode()
    return f"![{says.replace('[', '(').replace(']', ')')}](data:image/svg+xml;base64,{data})"


def bars(sizes: Int64s) -> list[Bar]:
    """Group files by their size; empty files are a group of their own."""
    empty, full = int(np.count_nonzero(sizes == 0)), sizes[sizes > 0]
    found = [Bar(0, 1, Amount(empty, 0))] if empty else []
    if not len(full):
        return found
    edges = _edges(int(full.min()), int(full.max()))
    files, _ = np.histogram(full, edges)
    # As floats, because a sum of weights is one: a file has far less than 2**53 bytes.
    weights, _ = np.histogram(full, edges, weights=full.astype(np.float64))
    limits = zip(edges[:-1], edges[1:], files, weights, strict=True)
    return found + [
        Bar(int(low), int(high), Amount(int(n_files), int(n_bytes)))
        for low, high, n_files, n_bytes in limits
    ]


def _edges(least: int, most: int) -> list[int]:
    """Return limits that hold `least` to `most`: finer where sizes differ little."""
    if most <= 4 * least:
        step = _nice(max((most - least) // 8, 1))
        return list(range(least // step * step, most + step + 1, step))
    found = [_powers(steps, least, most) for steps in _STEPS]
    return next((edges for edges in found if len(edges) <= _MOST_BARS + 1), found[-1])


def _powers(steps: Sequence[float], least: int, most: int) -> list[int]:
    edges = sorted(int(step * 10**power) for power in range(20) for step in steps)
    first = max(index for index, edge in enumerate(edges) if edge <= least)
    last = min(index for index, edge in enumerate(edges) if edge > most)
    return edges[first : last + 1]


def _nice(number: int) -> int:
    power: int = 10 ** (len(str(number)) - 1)
    return next(power * step for step in (1, 2, 5, 10) if power * step >= number)


def draw_sizes(sizes: Int64s) -> str:
    """Draw how many files there are of which size, and how many of the bytes are in them."""
    shown = bars(sizes)
    n_files, n_bytes = len(sizes), int(sizes.sum())
    most = max(
        max(_share(bar.amount.n_files, n_files), _share(bar.amount.n_bytes, n_bytes))
        for bar in shown
    )
    top, height = 58, _PLOT_HEIGHT
    slot = (_WIDTH - 2 * _MARGIN) / len(shown)
    items = [*_legend([("share of the files", _FILES), ("share of the bytes", _BYTES)])]
    for index, bar in enumerate(shown):
        left = _MARGIN + index * slot
        pair = (
            (_share(bar.amount.n_files, n_files), _FILES),
            (_share(bar.amount.n_bytes, n_bytes), _BYTES),
        )
        items += _pair(pair, left, slot, top, height, most)
        items.append(_text(_label(bar), left + slot / 2, top + height + 18, anchor="middle"))
    items.append(_line(_MARGIN, top + height, _WIDTH - _MARGIN, top + height))
    title = f"Sizes of {n_files:,} files, {format_bytes(n_bytes)}"
    return _card(title, top + height + 36, items)


def _pair(
    pair: Sequence[tuple[float, str]], left: float, slot: float, top: int, height: int, most: float
) -> Iterator[str]:
    wide = min(slot * 0.36, 34.0)
    for place, (share, colour) in enumerate(pair):
        if not share:
            continue
        tall = max(share / most * height, _SLIVER)
        x = left + slot / 2 + (place - 1) * wide
        yield _box(x, top + height - tall, wide - 1, tall, colour)
        if share >= 0.005:
            middle = x + wide / 2
            yield _text(f"{share:.0%}", middle, top + height - tall - 4, 10, anchor="middle")


def draw_changes(changed: Changes, *, old: str, new: str) -> str:
    """Draw what became of a version's files: a strip for it, and one for the next version."""
    by_bytes = bool(changed.same.n_bytes + changed.replaced.n_bytes + changed.changed.n_bytes)
    strips = (
        (old, ((changed.same, _SAME), (changed.replaced, _CHANGED), (changed.removed, _REMOVED))),
        (new, ((changed.same, _SAME), (changed.changed, _CHANGED), (changed.added, _ADDED))),
    )
    unit = 1 if by_bytes or any(amount.n_bytes for _, s in strips for amount, _ in s) else 0
    longest = max(sum(amount[unit] for amount, _ in strip) for _, strip in strips)
    items = [
        *_legend(
            [
                (f"same {_few(changed.same)}", _SAME),
                (f"changed {_few(changed.changed)}", _CHANGED),
                (f"added {_few(changed.added)}", _ADDED),
                (f"removed {_few(changed.removed)}", _REMOVED),
            ]
        )
    ]
    for row, (name, strip) in enumerate(strips):
        top = 78 + row * 54
        items.append(_text(_shortened(name), _MARGIN, top - 6))
        items += _strip([(amount[unit], colour) for amount, colour in strip], longest, top)
    return _card("What changed, by bytes" if unit else "What changed, by files", 176, items)


def _strip(pieces: Sequence[tuple[int, str]], longest: int, top: int) -> Iterator[str]:
    room, x = _WIDTH - 2 * _MARGIN, float(_MARGIN)
    for amount, colour in pieces:
        if not amount:
            continue
        # A change that is too small to see is the one that is looked for.
        wide = max(amount / max(longest, 1) * (room - 2 * _SLIVER), _SLIVER)
        yield _box(x, top, wide, 24, colour)
        x += wide


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _label(bar: Bar) -> str:
    if bar.high == 1:
        return "empty"
    return f"{format_bytes(bar.low)}"


def _few(amount: Amount) -> str:
    return f"{amount.n_files:,} ({format_bytes(amount.n_bytes)})"


def _shortened(name: str, most: int = 90) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _legend(entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    x = float(_MARGIN)
    for text, colour in entries:
        yield _box(x, 36, 10, 10, colour)
        yield _text(text, x + 15, 45)
        x += 30 + 6.2 * len(text)


def _card(title: str, height: int, items: Sequence[str]) -> str:
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' "
        f"viewBox='0 0 {_WIDTH} {height}' role='img' {_FONT}>"
        f"<title>{escape(title)}</title>"
        f"<rect width='{_WIDTH}' height='{height}' rx='8' fill='#ffffff'/>"
    )
    return head + _text(title, _MARGIN, 22, 13, colour=_INK) + "".join(items) + "</svg>"


def _box(x: float, y: float, wide: float, tall: float, colour: str) -> str:
    return f"<rect x='{x:.1f}' y='{y:.1f}' width='{wide:.1f}' height='{tall:.1f}' fill='{colour}'/>"


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f"<path d='M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}' stroke='{_LINE}' fill='none'/>"


def _text(
    text: str, x: float, y: float, size: int = 11, *, anchor: str = "start", colour: str = _FAINT
) -> str:
    place = f"x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{colour}' text-anchor='{anchor}'"
    return f"<text {place}>{escape(text)}</text>"
