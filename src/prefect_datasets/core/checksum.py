"""The crc32 that zip asks of each member, by ISA-L: six times as fast as zlib's."""

from __future__ import annotations

from isal import isal_zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

crc32_of: Callable[[Buffer, int], int] = isal_zlib.crc32  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
