"""What metadata asks for: versions to be made, what is said of each, and of which files.

Many files repeat the same entry, and each may say a part. An entry is read once, into an `Entry`
that keeps "not said" apart from "said to be nothing"; the entries of one version are then united
into one `VersionDeclaration`. docs/metadata.md describes each key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.globs import Globs
from prefect_datasets.core.uri import DatasetUri, check_alias_name, check_new_version_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from prefect_datasets.core.metadata.findings import Findings

_TRUE = frozenset({"true", "yes", "1"})
_FALSE = frozenset({"false", "no", "0", ""})


@dataclass(frozen=True, slots=True)
class VersionDeclaration:
    """A version that metadata asks for.

    Attributes:
        uri: The version.
        packaging: Whether it shall be packaged; None where nothing is said.
        base: The version (or alias) whose files it inherits.
        exclude: Paths and globs of inherited files to leave out.
        aliases: Dataset aliases to be moved to it.
        tags: Tags of the version.
        properties: Properties of the version, and every key of its entries that is not known.
    """

    uri: DatasetUri
    packaging: bool | None = None
    base: DatasetUri | None = None
    exclude: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Declarations:
    """All that the metadata of a directory asks for; rows are those of the directory's listing.

    Attributes:
        versions: The versions, ordered by URI.
        members: For each version the rows of its files: int32, ascending.
        metadata: For each row the file's metadata as a JSON object, without
            `valohai.dataset-versions`, or null: a dictionary-encoded string array, as long as the
            listing.
        datum_aliases: Path of the file that each datum alias shall name.
        warnings: What the user should know, one line each.
    """

    versions: tuple[VersionDeclaration, ...]
    members: dict[DatasetUri, pa.Array]
    metadata: pa.Array
    datum_aliases: dict[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one item of `valohai.dataset-versions` says; None where it says nothing.

    Attributes:
        uri: The version.
        where: The place that says it, for messages.
        packaging: Whether to package.
        says_base: Whether the entry has an opinion on the base; if it has, `base` None means none.
        base: The version whose files are inherited.
        exclude: Inherited files to leave out.
        aliases: Dataset aliases.
        tags: Tags of the version.
        properties: Properties and unknown keys.
    """

    uri: DatasetUri
    where: str
    packaging: bool | None = None
    says_base: bool = False
    base: DatasetUri | None = None
    exclude: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict[str, Any])


def read_entries(value: object, *, where: str, findings: Findings) -> list[Entry]:
    """Read the value of `valohai.dataset-versions`; entries with an error are noted, not returned.

    Args:
        value: A list of strings and objects; one alone is taken too.
        where: The place it stands at, for messages.
        findings: Is told of everything that is wrong.
    """
    if isinstance(value, str | dict):
        findings.warn("`valohai.dataset-versions` is not a list; taken as a list of one", where)
    elif not isinstance(value, list):
        findings.error(f"{where}: `valohai.dataset-versions` is not a list")
        return []
    items = cast("list[object]", value if isinstance(value, list) else [value])
    entries: list[Entry] = []
    for item in items:
        try:
            entries.append(_read_entry(item, where, findings))
        except InvalidInputError as error:
            findings.error(f"{where}: {error}")
    return entries


def _read_entry(item: object, where: str, findings: Findings) -> Entry:
    if isinstance(item, str):
        return Entry(_version_uri(item), where)
    if not isinstance(item, dict):
        raise InvalidInputError("An entry of `valohai.dataset-versions` is no string or object")
    body = dict(cast("dict[str, Any]", item))
    uri = _version_uri(body.pop("uri", None))
    says_base, base = _base(body, uri)
    return Entry(
        uri=uri,
        where=where,
        packaging=_flag(body, "packaging", where, findings),
        says_base=says_base,
        base=base,
        exclude=_exclude(body, where, findings),
        aliases=_aliases(body, uri, where, findings),
        tags=_strings(body, "valohai.tags", where, findings),
        # Last: what is left of the body is what no key above has taken.
        properties=_properties(body),
    )


def _version_uri(text: object) -> DatasetUri:
    if not isinstance(text, str):
        raise InvalidInputError(
            "An entry of `valohai.dataset-versions` has no `uri`",
            hint='Write {"uri": "dataset://NAME/VERSION"}.',
        )
    uri = DatasetUri.parse(text)
    check_new_version_name(uri)
    return uri


def _base(body: dict[str, Any], uri: DatasetUri) -> tuple[bool, DatasetUri | None]:
    """Take `from` and `start_fresh`: whether a base is spoken of, and which."""
    said = "from" in body
    text = body.pop("from", None)
    fresh = body.pop("start_fresh", None)
    if fresh not in (None, True, False):
        raise InvalidInputError("`start_fresh` is not true or false", subject=str(uri))
    if fresh is True or text is None:
        return said or fresh is True, None
    if not isinstance(text, str):
        raise InvalidInputError("`from` is no version URI", subject=str(uri))
    return True, parse_base(text, uri)


def parse_base(text: str, uri: DatasetUri) -> DatasetUri:
    """Read the URI of the version that `uri` is made from.

    Raises:
        InvalidInputError: It is no version's URI, or `uri` itself.
    """
    base = DatasetUri.parse(text)
    if base == uri:
        raise InvalidInputError(
            "`from` names the version itself",
            subject=str(uri),
            hint="Name the version whose files it inherits, or write null.",
        )
    return base


def check_alias(alias: str, uri: DatasetUri) -> None:
    """Raise `InvalidInputError` unless `alias` may be an alias of `uri`."""
    check_alias_name(alias, where=str(uri))
    if alias == uri.version:
        raise InvalidInputError(
            f"The alias {alias!r} is the version's own name",
            subject=str(uri),
            hint="Versions and aliases share one name space: choose another alias.",
        )


def _exclude(body: dict[str, Any], where: str, findings: Findings) -> tuple[str, ...]:
    patterns = _strings(body, "exclude", where, findings)
    Globs(patterns)
    return patterns


def _aliases(
    body: dict[str, Any], uri: DatasetUri, where: str, findings: Findings
) -> tuple[str, ...]:
    aliases = _strings(body, "targeting_aliases", where, findings)
    for alias in aliases:
        check_alias(alias, uri)
    return aliases


def _flag(body: dict[str, Any], key: str, where: str, findings: Findings) -> bool | None:
    value = body.pop(key, None)
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, str | int) else None
    if text in _TRUE or text in _FALSE:
        findings.warn(f"`{key}` is {value!r} instead of true or false", where)
        return text in _TRUE
    raise InvalidInputError(f"`{key}` is {value!r} instead of true or false")


def _strings(body: dict[str, Any], key: str, where: str, findings: Findings) -> tuple[str, ...]:
    value = body.pop(key, None)
    if value is None:
        return ()
    if isinstance(value, str):
        findings.warn(f"`{key}` is not a list; taken as a list of one", where)
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):  # pyright: ignore[reportUnknownVariableType]
        raise InvalidInputError(f"`{key}` is not a list of strings")
    return tuple(cast("list[str]", value))


def _properties(body: dict[str, Any]) -> dict[str, Any]:
    """Take `metadata`, `properties` and every key that is left."""
    properties: dict[str, Any] = {}
    for key in ("metadata", "properties"):
        value = body.pop(key, None)
        if value is not None and not isinstance(value, dict):
            raise InvalidInputError(f"`{key}` of an entry is not an object")
        properties.update(cast("dict[str, Any]", value or {}))
    return {**body, **properties}


def unite(entries: Sequence[Entry], findings: Findings) -> tuple[VersionDeclaration, ...]:
    """Unite the entries of each version, versions ordered by URI.

    Args:
        entries: What is said, in an order that does not depend on how the metadata was written.
        findings: Is told of contradictions.
    """
    by_uri: dict[DatasetUri, list[Entry]] = {}
    for entry in entries:
        by_uri.setdefault(entry.uri, []).append(entry)
    versions = tuple(_unite_version(by_uri[uri], findings) for uri in sorted(by_uri))
    _check_aliases(versions, findings)
    return versions


def _unite_version(entries: Sequence[Entry], findings: Findings) -> VersionDeclaration:
    uri = entries[0].uri
    version = VersionDeclaration(
        uri=uri,
        packaging=_united_packaging(entries, findings),
        base=_united_base(entries, findings),
        exclude=_union(entry.exclude for entry in entries),
        aliases=_union(entry.aliases for entry in entries),
        tags=_union(entry.tags for entry in entries),
        properties=_united_properties(entries, findings),
    )
    if version.exclude and version.base is None:
        where = next(entry.where for entry in entries if entry.exclude)
        findings.warn(f"`exclude` of {uri} does nothing without `from`", where)
    return version


def _united_packaging(entries: Sequence[Entry], findings: Findings) -> bool | None:
    on = next((entry for entry in entries if entry.packaging is True), None)
    off = next((entry for entry in entries if entry.packaging is False), None)
    if on and off:
        findings.warn(
            f"packaging of {on.uri} is on here and off at {off.where}: it is on", on.where
        )
    return True if on else False if off else None


def _united_base(entries: Sequence[Entry], findings: Findings) -> DatasetUri | None:
    said = [entry for entry in entries if entry.says_base]
    if not said:
        return None
    first = said[0]
    other = next((entry for entry in said if entry.base != first.base), None)
    if other:
        findings.error(
            f"{first.uri} is made from {_named(first.base)} at {first.where}, "
            f"but from {_named(other.base)} at {other.where}"
        )
    return first.base


def _named(base: DatasetUri | None) -> str:
    return str(base) if base else "nothing"


def _union(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for items in lists for item in items))


def _united_properties(entries: Sequence[Entry], findings: Findings) -> dict[str, Any]:
    united: dict[str, Any] = {}
    for entry in entries:
        for key, value in entry.properties.items():
            if united.setdefault(key, value) != value:
                findings.warn(
                    f"property {key!r} of {entry.uri} differs from what another file says: "
                    "the first in path order counts",
                    entry.where,
                )
    return united


def _check_aliases(versions: Sequence[VersionDeclaration], findings: Findings) -> None:
    """Note names in one dataset that would stand for two versions."""
    uris = {version.uri for version in versions}
    taken: dict[DatasetUri, DatasetUri] = {}
    for version in versions:
        for alias in version.aliases:
            name = DatasetUri(version.uri.dataset, alias)
            if name in uris:
                findings.error(f"The alias {alias!r} of {version.uri} is a version made here too")
            elif (other := taken.setdefault(name, version.uri)) != version.uri:
                findings.error(f"The alias {alias!r} is asked for {other} and for {version.uri}")
