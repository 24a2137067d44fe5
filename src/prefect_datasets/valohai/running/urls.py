"""URLs as a `valohai.yaml` has them, and as the engine knows them."""

from __future__ import annotations

import re

from prefect_datasets.core.errors import InvalidInputError

_WILDCARD = re.compile(r"[*?\[]")
_AZURE = re.compile(r"azure://(?P<account>[^/]+)/(?P<container>[^/]+)/(?P<blob>.+)")


def understood(uri: str) -> str:
    """Return a URI in the form that the engine knows.

    Raises:
        InvalidInputError: It is of a kind that can't be brought.
    """
    if (match := _AZURE.fullmatch(uri)) is not None:
        return (
            f"abfss://{match['container']}@{match['account']}.dfs.core.windows.net/{match['blob']}"
        )
    for kind, instead in (("swift", "its S3 interface"), ("model", "the model's own files")):
        if uri.startswith(f"{kind}://"):
            raise InvalidInputError(
                f"URIs of the kind {kind}:// can't be brought",
                subject=uri,
                hint=f"Name the files by {instead}, or publish them as a dataset version.",
            )
    return uri


def object_url(uri: str, path: str) -> str:
    """Return the URL of one object that a URL with or without wildcards names.

    Args:
        uri: The URL that was asked for.
        path: The object's key in its bucket; below the folder before the first wildcard for a file
            of this machine.
    """
    kind, separator, rest = uri.partition("://")
    if kind in ("http", "https") or not separator:
        return uri
    if kind in ("file", "local"):
        wildcard = _WILDCARD.search(rest)
        literal = rest[: wildcard.start()] if wildcard else rest
        return f"{kind}://{literal[: literal.rfind('/') + 1]}{path}"
    return f"{kind}://{rest.partition('/')[0]}/{path}"
