"""The names of things: `dataset://name/version`, `datum://id`, aliases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from prefect_datasets.core.errors import InvalidUriError

LATEST = "latest"

# A package is called <dataset>.<version>-<k>.vhpkgzip, and a file name has at most 255 bytes.
MAX_NAMES_BYTES = 230

_DATASET = re.compile(r"[a-z0-9][a-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_URI = re.compile(r"dataset://(?P<dataset>[^/]*)/(?P<version>[^/]*)")
_DATUM = re.compile(r"datum://(?P<id>[A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True, slots=True, order=True)
class DatasetUri:
    """Names one immutable dataset version, or what `latest` or an alias stands for.

    Attributes:
        dataset: Name of the dataset: lower case letters, digits, dot, underscore, dash.
        version: Name of the version or alias: as above, upper case allowed.
    """

    dataset: str
    version: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `dataset://NAME/VERSION`.

        Raises:
            InvalidUriError: `text` has another form, or a name has a character it can't have.
        """
        if (match := _URI.fullmatch(text)) is None:
            raise InvalidUriError(
                "Not a dataset version URI",
                subject=repr(text),
                hint="Write dataset://NAME/VERSION.",
            )
        check_dataset_name(match["dataset"], where=text)
        check_version_name(match["version"], where=text)
        if len(match["dataset"]) + len(match["version"]) > MAX_NAMES_BYTES:
            raise InvalidUriError(
                "Dataset and version names are too long",
                subject=repr(text),
                hint=f"Both together may have {MAX_NAMES_BYTES} characters.",
            )
        return cls(match["dataset"], match["version"])

    def __str__(self) -> str:
        return f"dataset://{self.dataset}/{self.version}"


def is_dataset_uri(text: str) -> bool:
    """Tell whether `text` means to be a dataset version URI, well formed or not."""
    return text.startswith("dataset://")


def check_dataset_name(name: str, *, where: str = "") -> None:
    """Raise `InvalidUriError` unless `name` may be a dataset's name."""
    if _DATASET.fullmatch(name) is None or ".." in name:
        lowered = name.lower()
        better = _DATASET.fullmatch(lowered) is not None and ".." not in lowered
        raise InvalidUriError(
            f"Invalid dataset name {name!r}",
            subject=where,
            hint=f"Use {lowered!r}."
            if better
            else "Use lower case letters, digits, dots, underscores and dashes, a letter or "
            "digit first.",
        )


def check_version_name(name: str, *, where: str = "") -> None:
    """Raise `InvalidUriError` unless `name` may be a version's or an alias's name."""
    if _VERSION.fullmatch(name) is None or ".." in name:
        raise InvalidUriError(
            f"Invalid version name {name!r}",
            subject=where,
            hint="Use letters, digits, dots, underscores and dashes, a letter or digit first.",
        )


def check_new_version_name(uri: DatasetUri) -> None:
    """Raise `InvalidUriError` where `uri` names something that can't be published."""
    if uri.version == LATEST:
        raise InvalidUriError(
            "'latest' is reserved for the newest version",
            subject=str(uri),
            hint="Publish under another version name.",
        )


def check_alias_name(name: str, *, where: str = "") -> None:
    """Raise `InvalidUriError` unless `name` may be a new dataset alias."""
    check_version_name(name, where=where)
    if name == LATEST:
        raise InvalidUriError(
            "'latest' is reserved for the newest version",
            subject=where,
            hint="Choose another alias.",
        )


@dataclass(frozen=True, slots=True)
class DatumUri:
    """Names one stored file, by its id or by a datum alias."""

    id: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `datum://ID` or `datum://ALIAS`.

        Raises:
            InvalidUriError: `text` has another form.
        """
        if (match := _DATUM.fullmatch(text)) is None:
            raise InvalidUriError(
                "Not a datum URI", subject=repr(text), hint="Write datum://ID or datum://ALIAS."
            )
        return cls(match["id"])

    def __str__(self) -> str:
        return f"datum://{self.id}"
