"""The picture: how many times as long as ours each contender takes, on a logarithmic scale.

It has a background of its own, so it reads the same on a light and on a dark page.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks import publishers, resolvers, versions
from benchmarks.results import Results

_WIDTH, _LEFT, _RIGHT, _ROW, _HEADER = 960, 390, 140, 22, 40
_LEAST, _MOST = 0.1, 3000.0
_PANELS = (
    ("resolve-folders", "From nothing to a directory, loopback", resolvers.RESOLVE),
    ("resolve-folders-delayed", "... behind 20 ms and 1 Gbit/s", resolvers.RESOLVE),
    ("delta", "v1 to v2 (1 % added, changed, removed, 5 % renamed)", versions.DELTA),
    ("pack", "Pack on the local file system", publishers.PACK),
    ("publish", "Publish with individual files", publishers.PUBLISH),
    ("packages", "Publish the package alone", publishers.PUBLISH_PACKAGES),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A contender in a panel: its ratios, and what it is."""

    name: str
    ratios: Sequence[float]
    is_limit: bool
    is_extrapolated: bool


def picture(results: Results) -> str:
    """Draw all panels as SVG."""
    panels = [
        (f"{title}: {_shape(results, name)}", ours, _bars(results, name))
        for name, title, ours in _PANELS
    ]
    there = [panel for panel in panels if panel[2]]
    body: list[str] = []
    top = 64
    for title, ours, bars in there:
        body += _panel(top, title, ours, bars)
        top += _HEADER + _ROW * (len(bars) + 1)
    height = top + 44
    return "\n".join([*_frame(height, top), *body, "</svg>", ""])


def _found(results: Results, name: str) -> str:
    return next((n for n in (name, f"small-{name}", f"tiny-{name}") if n in results.scenarios), "")


def _shape(results: Results, name: str) -> str:
    found = _found(results, name)
    return results.scenarios[found]["shape"] if found else ""


def _bars(results: Results, name: str) -> list[Bar]:
    found = _found(results, name)
    if not found:
        return []
    outcome = results.scenarios[found]
    bars = [
        Bar(key, ratios, entry["is_limit"], bool(entry["sampled"]))
        for key, entry in outcome["contenders"].items()
        if key != outcome["baseline"] and (ratios := results.ratios(found, key))
    ]
    return sorted(bars, key=lambda bar: statistics.median(bar.ratios))


def _panel(top: int, title: str, ours: str, bars: Sequence[Bar]) -> list[str]:
    lines = [_text(16, top + 22, title, "title")]
    lines += _row(top + _HEADER, Bar(ours, (1.0,), is_limit=False, is_extrapolated=False), "ours")
    for number, bar in enumerate(bars, 1):
        kind = (
            "limit" if bar.is_limit else "slower" if statistics.median(bar.ratios) > 1 else "faster"
        )
        lines += _row(top + _HEADER + number * _ROW, bar, kind)
    return lines


def _row(top: int, bar: Bar, kind: str) -> list[str]:
    middle = statistics.median(bar.ratios)
    begin, end = sorted((_x(1), _x(middle)))
    y = top + _ROW / 2
    lines = [_text(_LEFT - 10, y + 4, bar.name, "name")]
    if kind == "ours":
        lines.append(f'<circle class="ours" cx="{_x(1):.1f}" cy="{y}" r="5"/>')
    else:
        width = max(1.5, end - begin)
        lines.append(
            f'<rect class="{kind}" x="{begin:.1f}" y="{y - 6}" width="{width:.1f}" height="12"/>'
        )
    least, most = min(bar.ratios), max(bar.ratios)
    if most > least:
        lines.append(f'<path class="spread" d="M{_x(least):.1f} {y}H{_x(most):.1f}"/>')
    about = "≈ " if bar.is_extrapolated else ""
    lines.append(_text(_WIDTH - 16, y + 4, about + _label(least, middle, most), "figure"))
    return lines


def _label(least: float, middle: float, most: float) -> str:
    if least == most:
        return f"{_figure(middle)} x"
    return f"{_figure(middle)} x [{_figure(least)}, {_figure(most)}]"


def _figure(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 20 else f"{ratio:.1f}" if ratio >= 3 else f"{ratio:.2f}"


def _x(ratio: float) -> float:
    inside = min(max(ratio, _LEAST), _MOST)
    share = math.log(inside / _LEAST) / math.log(_MOST / _LEAST)
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _frame(height: int, bottom: int) -> list[str]:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        "<title>Time of each contender divided by that of prefect-datasets</title>",
        _STYLE,
        f'<rect class="page" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        _text(16, 30, "Time of the other divided by ours", "heading"),
        _text(
            16,
            50,
            "Median of the rounds, the thin line from least to most; ≈ from samples. Logarithmic.",
            "note",
        ),
    ]
    for ratio in (0.1, 1, 10, 100, 1000):
        kind = "one" if ratio == 1 else "grid"
        lines.append(f'<path class="{kind}" d="M{_x(ratio):.1f} 64V{bottom + 8}"/>')
        lines.append(_text(_x(ratio), bottom + 26, f"{ratio:g} x", "tick"))
    return lines


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


_STYLE = """<style>
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f }
.heading { font-size: 16px; font-weight: 600 } .title { font-weight: 600 }
.note, .tick { fill: #57606a } .name, .figure { text-anchor: end } .tick { text-anchor: middle }
.page { fill: #ffffff; stroke: #d0d7de } .grid { stroke: #e4e8ec } .one { stroke: #1a7f37 }
.slower { fill: #54aeff } .faster { fill: #fb8f44 } .limit { fill: #afb8c1 } .ours { fill: #1a7f37 }
.spread { stroke: #24292f; stroke-width: 1.5 } path { fill: none }
</style>"""
