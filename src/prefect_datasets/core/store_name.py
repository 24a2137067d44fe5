"""What a store is called in the cache, by its URL and options alone.

Nothing is imported here that takes time, because a resolve from the cache asks for it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# What else than the URL says which server answers; secrets are not among them.
_ADDRESS_OPTIONS = (
    "endpoint_url",
    "endpoint",
    "profile",
    "account_name",
    "account_host",
    "project",
    "host",
    "port",
)
_ADDRESS_VARIABLES = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_PROFILE"),
    "gs": ("STORAGE_EMULATOR_HOST",),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME",),
}
_SAME_KIND = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az"}


def identity_of(url: str, options: Mapping[str, Any]) -> str:
    """Return a name for a store that no other store has, as far as this machine can tell."""
    kind, rest = _split(url)
    named = [f"{kind}://{rest}"]
    named += [f"{key}={value}" for key, value in _address_options(options)]
    named += [f"{key}={os.environ.get(key, '')}" for key in _ADDRESS_VARIABLES.get(kind, ())]
    if kind == "memory":  # ends with the process
        named.append(f"pid={os.getpid()}")
    return _sha256("\n".join(named).encode())[:32]


def record_stamp(url: str, dataset: str, version: str) -> str | None:
    """Return what a version's record looks like now, where that costs no request.

    A folder that serves as a store is deleted and filled anew with other files under the same names
    more easily than a bucket. None where no version is.
    """
    kind, root = _split(url)
    if kind != "file":
        return ""
    try:
        status = os.stat(f"{root}/datasets/{dataset}/{version}.json")  # noqa: PTH116  (no pathlib)
    except OSError:
        return None
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"


def _split(url: str) -> tuple[str, str]:
    """Return the kind of store and its root, the same for all ways to write them."""
    kind, separator, rest = url.partition("://")
    if not separator or kind in ("file", "local"):
        return "file", os.path.abspath(os.path.expanduser(rest if separator else url))  # noqa: PTH100, PTH111
    bucket, slash, prefix = rest.partition("/")
    bare = bucket.rpartition("@")[2]  # user and password
    return _SAME_KIND.get(kind, kind), f"{bare}{slash}{prefix}".rstrip("/")


def _address_options(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    both: dict[str, Any] = {**(options.get("client_kwargs") or {}), **options}
    return sorted((key, str(both[key])) for key in _ADDRESS_OPTIONS if both.get(key))


def _sha256(data: bytes) -> str:
    """Return the digest, by a module that does not load OpenSSL where the interpreter has one."""
    try:
        if sys.version_info >= (3, 12):
            import _sha2 as module  # noqa: PLC0415  (see above)
        else:
            import _sha256 as module  # noqa: PLC0415  (see above)
    except ImportError:
        import hashlib as module  # noqa: PLC0415  (see above)
    return str(module.sha256(data).hexdigest())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]  (no stubs)
