"""Metadata objects as text: each distinct one is parsed once, and many of them together."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple, cast

from prefect_datasets.core.metadata.walk import METADATA_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect_datasets.core.metadata.findings import Findings

VERSIONS_KEY = "valohai.dataset-versions"

_TEXTS_AT_MOST = 4096  # remembered at once: more distinct texts than this are not worth the memory
_FEW = 8  # texts that are parsed one by one
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ENCODE_ASCII = json.JSONEncoder(separators=(",", ":")).encode


class Said(NamedTuple):
    """A value of `valohai.dataset-versions`, and whether a sidecar says it or a line."""

    by_sidecar: bool
    value: object


class Parsed(NamedTuple):
    """What a metadata object says.

    Attributes:
        versions: Number of what it says of versions (`Texts.versions`), 0 for nothing.
        properties: JSON of its other keys, None where there is none.
    """

    versions: int
    properties: str | None


class Texts:
    """Metadata objects, each distinct one kept once.

    Attributes:
        findings: Is told of constants that are no JSON.
        versions: What has been said of versions, by number; number 0 is nothing.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.versions: list[tuple[Said, ...]] = [()]
        self._numbers: dict[str, int] = {}
        self._number_of_json: dict[str, int] = {"null": 0}
        self._read: dict[bytes, Parsed] = {}
        self._constants: list[str] = []
        self._decode = json.JSONDecoder(parse_constant=self._constants.append).decode

    def read(self, text: bytes, line: int) -> Parsed:
        """Return what a line's metadata says.

        Raises:
            ValueError: `text` is no JSON, or no object.
        """
        if (known := self._read.get(text)) is not None:
            return known
        result = self.take(self.parse(text, line), by_sidecar=False)
        self._remember({text: result})
        return result

    def read_many(self, texts: Sequence[bytes], lines: Sequence[int]) -> list[Parsed]:
        """Return what texts say that all differ; the first line that has each is in `lines`.

        Raises:
            ValueError: One of them is no JSON, or no object.
        """
        fresh = [text for text in texts if text not in self._read]
        parsed = self._read_together(fresh) if len(fresh) > _FEW else None
        if parsed is None:
            return [self.read(text, line) for text, line in zip(texts, lines, strict=True)]
        found = [parsed.get(text) or self._read[text] for text in texts]
        if len(fresh) <= _TEXTS_AT_MOST // 4:  # else it is likely that every line has its own
            self._remember(parsed)
        return found

    def parse(self, text: bytes, where: int | str) -> object:
        """Parse JSON; NaN and Infinity, which Python writes and JSON lacks, become null.

        Args:
            text: The JSON.
            where: Its place: the number of a line, or the path of a sidecar.

        Raises:
            ValueError: `text` is no JSON, not UTF-8, or nested too deeply.
        """
        try:
            value = self._decode(text.decode())
        except UnicodeDecodeError as error:
            raise ValueError("not UTF-8") from error
        except json.JSONDecodeError as error:
            raise ValueError(f"no JSON ({error.msg} at column {error.colno})") from error
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        if self._constants:
            place = where_line(where) if isinstance(where, int) else where
            self.findings.warn(f"{self._constants[0]} is no JSON: taken as null", place)
            self._constants.clear()
        return value

    def take(self, metadata: object, *, by_sidecar: bool) -> Parsed:
        """Split a metadata object as `read` does.

        Raises:
            ValueError: It is no object.
        """
        if metadata is None:
            return Parsed(0, None)
        if not isinstance(metadata, dict):
            raise ValueError("the metadata is not an object")  # noqa: TRY004 (faulty data, as above)
        others = dict(cast("dict[str, object]", metadata))
        value = others.pop(VERSIONS_KEY, None)
        number = 0 if value is None else self._number((Said(by_sidecar, value),))
        return Parsed(number, encode(others) if others else None)

    def together(self, line: int, sidecar: int) -> int:
        """Return the number of what a line and a sidecar say of one file."""
        if not line or not sidecar:
            return line or sidecar
        return self._number(self.versions[line] + self.versions[sidecar])

    def _number(self, said: tuple[Said, ...]) -> int:
        number = self._numbers.setdefault(repr(said), len(self.versions))
        if number == len(self.versions):
            self.versions.append(said)
        return number

    def _remember(self, parsed: dict[bytes, Parsed]) -> None:
        if len(self._read) + len(parsed) > _TEXTS_AT_MOST:
            self._read.clear()
        self._read |= parsed

    def _read_together(self, texts: Sequence[bytes]) -> dict[bytes, Parsed] | None:
        """Read many texts as one list, several times faster; None where one is out of order.

        A mark that no text can know stands between them. If there is one value before, between
        and behind any marks, each text is one value by itself.
        """
        mark = os.urandom(16).hex()
        between = f',"{mark}",'
        try:
            items: list[object] = self._decode(f"[{between.encode().join(texts).decode()}]")
        except (ValueError, RecursionError):
            items = []
        if (
            self._constants  # to be told with their lines
            or items[1::2] != [mark] * (len(texts) - 1)
            or not all(isinstance(body, dict) for body in items[::2])
        ):
            self._constants.clear()
            return None
        bodies = cast("list[dict[str, object]]", items[::2])
        values = [body.pop(VERSIONS_KEY, None) for body in bodies]
        versions, others = _encoded(values, between), _encoded(bodies, between)
        if versions is None or others is None:
            return None
        numbers = [self._number_of(*pair) for pair in zip(versions, values, strict=True)]
        found = (
            Parsed(number, None if properties == "{}" else properties)
            for number, properties in zip(numbers, others, strict=True)
        )
        return dict(zip(texts, found, strict=True))

    def _number_of(self, text: str, value: object) -> int:
        """Return the number of what lines say of versions, by its JSON."""
        if (number := self._number_of_json.get(text)) is None:
            number = self._number((Said(by_sidecar=False, value=value),))
            self._number_of_json[text] = number
        return number


def encode(value: object) -> str:
    """Return `value` as JSON text that UTF-8 can hold, even with half a surrogate pair in it."""
    text = _ENCODE(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ENCODE_ASCII(value)
    return text


def _encoded(values: Sequence[object], between: str) -> list[str] | None:
    """Return the JSON of each value; None where UTF-8 can't hold it as it is."""
    mark = between[2:-2]
    marked = [item for value in values for item in (value, mark)]
    text = _ENCODE(marked[:-1])
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text[1:-1].split(between)


def where_line(number: int) -> str:
    """Name a line for a message."""
    return f"{METADATA_FILE} line {number}"
