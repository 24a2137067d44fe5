"""Numbers as people read them."""

from __future__ import annotations


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things: `1 file`, `1,797 files`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_bytes(n_bytes: int) -> str:
    """Write a size as people read it, in powers of 1000: `15 GB`, `2.5 MB`, `512 B`."""
    size, units = float(n_bytes), ["B", "kB", "MB", "GB", "TB", "PB"]
    while size >= 999.5 and len(units) > 1:  # 999.6 would be written as 1000
        size /= 1000
        units.pop(0)
    text = f"{size:.1f}" if size < 9.95 and units[0] != "B" else f"{size:.0f}"
    return f"{text.removesuffix('.0')} {units[0]}"
