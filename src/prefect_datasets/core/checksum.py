"""The crc32 that zip asks of each member, by ISA-L: six times as fast as zlib's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from isal import isal_zlib

if TYPE_CHECKING:
    from typing_extensions import Buffer

crc32_of = cast("Callable[[Buffer, int], int]", isal_zlib.crc32)  # pyright: ignore[reportUnknownMemberType]  (its stub)
