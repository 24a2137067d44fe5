"""One file behind an `https://` URL, as a tree of the cache."""

from __future__ import annotations

import base64
import hashlib
import http.client
import urllib.error
import urllib.request
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from prefect_datasets.core.cache import leases
from prefect_datasets.core.cache.cache import OBJECTS, Cache, Entry, Ready
from prefect_datasets.core.cache.folders import explain, lock_folders
from prefect_datasets.core.errors import (
    AccessDeniedError,
    InvalidInputError,
    NotFoundError,
    StoreError,
)
from prefect_datasets.core.resolve.objects import Objects
from prefect_datasets.core.resolve.obtain import obtain
from prefect_datasets.core.resolve.room import make_room

if TYPE_CHECKING:
    from prefect_datasets.core.cache.attempt import Attempt
    from prefect_datasets.core.progress import Progress

_TIMEOUT_SECONDS = 60.0
_PIECE_BYTES = 1 << 20


def is_web(url: str) -> bool:
    """Tell whether a URL is fetched with plain HTTP."""
    return url.startswith(("https://", "http://"))


def without_password(url: str) -> str:
    """Return a URL without the user and the password that may stand in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def resolve_web(url: str, *, cache: Cache, progress: Progress) -> Objects:
    """Make the file behind a URL available; fetched again when the server calls it another.

    Raises:
        NotFoundError: The server knows no such file.
        StoreError: It can't be reached, or the transfer broke off.
    """
    path = _path(url)
    with _open(url) as response:
        mark = [response.headers.get(name, "") for name in ("ETag", "Last-Modified")]
        length = response.headers.get("Content-Length", "")
        known = "\n".join([url, *mark, length] if any(mark) else [url, str(leases.this_process())])
        digest = hashlib.sha256(known.encode()).hexdigest()
        group = hashlib.sha256(url.encode()).hexdigest()[:16]
        entry = Entry(cache.root, OBJECTS, group, digest[:32])
        build = partial(_build, url=url, path=path, response=response, progress=progress)
        ready, is_warm = obtain(cache, entry, partial(build, digest=digest), progress)
    folder = path[: path.rfind("/") + 1]
    return Objects.of(entry, ready, folder=folder, is_warm=is_warm)


def _path(url: str) -> str:
    """Return where in a tree the file goes: the path of its URL."""
    parts = [unquote(part) for part in urlsplit(url).path.split("/") if part]
    if not parts or any(part in (".", "..") or "/" in part or "\0" in part for part in parts):
        raise InvalidInputError(
            "The URL names no file", subject=url, hint="It must end with a file's name."
        )
    return "/".join(parts)


def _open(url: str) -> http.client.HTTPResponse:
    try:
        return urllib.request.urlopen(_request(url), timeout=_TIMEOUT_SECONDS)  # noqa: S310  (see is_web)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error.code) from error
    except OSError as error:
        raise _broken(url, error) from error


def _request(url: str) -> urllib.request.Request:
    """Return what to ask the server; a user in the URL becomes a header, as curl does it."""
    bare = without_password(url)
    parts = urlsplit(url)
    if parts.username is None:
        return urllib.request.Request(bare)  # noqa: S310  (see is_web)
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    words = f"Basic {base64.b64encode(user.encode()).decode()}"
    return urllib.request.Request(bare, headers={"Authorization": words})  # noqa: S310  (see is_web)


def _refusal(url: str, status: int) -> Exception:
    url = without_password(url)
    match status:
        case 404 | 410:
            return NotFoundError("The server knows no such file", subject=url)
        case 401 | 403:
            return AccessDeniedError(f"The server refused it with status {status}", subject=url)
        case _:
            return StoreError(f"The server answered with status {status}", subject=url)


def _broken(url: str, error: Exception) -> StoreError:
    shown = without_password(url)
    return StoreError(f"The transfer failed ({error})", subject=shown, hint="Try again.")


def _build(
    attempt: Attempt,
    *,
    url: str,
    path: str,
    response: http.client.HTTPResponse,
    digest: str,
    progress: Progress,
) -> Ready:
    expected = int(response.headers.get("Content-Length") or 0)
    needs = (expected, 1)
    make_room(attempt.cache, url, needs, lambda: needs)
    progress.start(f"fetching {without_password(url)}", n_files=1, n_bytes=expected)
    n_bytes = _write(attempt, path, response, url, progress)
    lock_folders(attempt.files)
    return Ready(
        uri=without_password(url),
        digest=digest,
        n_files=1,
        n_bytes=n_bytes,
        n_fetched_bytes=n_bytes,
        host=leases.this_host(),
        boot=leases.this_boot(),
    )


def _write(
    attempt: Attempt,
    path: str,
    response: http.client.HTTPResponse,
    url: str,
    progress: Progress,
) -> int:
    target = attempt.files / path
    target.parent.mkdir(parents=True, exist_ok=True)
    n_bytes = 0
    with target.open("xb") as file:
        while data := _receive(response, url):
            try:
                file.write(data)
            except OSError as error:
                raise explain(error, path, attempt.files) from error
            n_bytes += len(data)
            progress.advance(n_files=0, n_bytes=len(data))
    target.chmod(0o444)
    if response.length:  # http.client ends quietly where the server hangs up
        raise _broken(url, EOFError(f"{response.length} bytes are missing"))
    progress.advance(n_files=1, n_bytes=0)
    return n_bytes


def _receive(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read(_PIECE_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _broken(url, error) from error
