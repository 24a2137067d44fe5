"""Google Cloud Storage, through gcsfs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect_datasets.core.store.base import ObjectInfo, folder_prefix
from prefect_datasets.core.store.fsspec_store import FsspecStore
from prefect_datasets.core.store.translate import translating

_TIMEOUT_SECONDS = 60
_LIST_PAGE = 1000
_CACHED_TOKENS = Path("~/.gcs_tokens")  # gcsfs's own


class GcsStore(FsspecStore):
    """Objects below a prefix of one bucket."""

    @property
    def endpoint(self) -> str:
        given = self._options.get("endpoint_url") or os.environ.get("STORAGE_EMULATOR_HOST")
        return str(given or "")

    def info(self, key: str) -> ObjectInfo | None:
        bucket, name = self._names(key)
        with translating("look at", self, key):
            try:
                found = self.fs.call("GET", "b/{}/o/{}", bucket, name, json_out=True)
            except FileNotFoundError:
                return None
        return _info(key, found)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        root = self._names("")[1]
        for page in self._pages(prefix):
            for found in page.get("items", ()):
                if not found["name"].endswith("/"):
                    key = found["name"].removeprefix(root)
                    yield _info(key, found)

    def list_folders(self, prefix: str) -> list[str]:
        pages = self._pages(prefix, delimiter="/")
        folders = [folder for page in pages for folder in page.get("prefixes", ())]
        return sorted(folder.rstrip("/").rpartition("/")[2] for folder in folders)

    def _pages(self, prefix: str, **parameters: str) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of a listing as they come: gcsfs itself keeps a whole one."""
        bucket, folder = self._names(folder_prefix(prefix))
        wanted = {"prefix": folder, "maxResults": _LIST_PAGE, **parameters}
        token = ""
        while True:
            if token:
                wanted["pageToken"] = token
            with translating("list", self, prefix):
                page = self.fs.call("GET", "b/{}/o", bucket, json_out=True, **wanted)
            yield page
            if not (token := page.get("nextPageToken", "")):
                return

    def _names(self, key: str) -> Sequence[str]:
        """Return the bucket, and the bucket's name for `key`."""
        bucket, _, name = self.path_of(key).partition("/")
        return bucket, name

    def _open(self) -> tuple[Any, str]:
        if self.endpoint.startswith("http://"):
            # gcsfs would ask a service that emulators don't have, and wait a minute for each reply.
            os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        logging.getLogger("gcsfs").addFilter(_raised_anyway)
        return super()._open()

    def _client_options(self) -> dict[str, object]:
        options = {"requests_timeout": _TIMEOUT_SECONDS, **self._options}
        if "token" not in options and not _has_credentials():
            # Public buckets can be read; gcsfs would first ask a cloud that is not there for 20 s.
            options["token"] = "anon"  # noqa: S105  (nobody's)
        return options


def _has_credentials() -> bool:
    """Tell whether Google's client, or gcsfs by itself, finds credentials on this machine."""
    import google.auth  # noqa: PLC0415  slow to load, and only this store needs it
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415

    try:
        google.auth.default()  # pyright: ignore[reportUnknownMemberType]  (only partly typed)
    except DefaultCredentialsError:
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            raise  # who names a file wants that one
        return _CACHED_TOKENS.expanduser().exists()
    return True


def _raised_anyway(record: logging.LogRecord) -> bool:
    """Drop what gcsfs logs of errors that it raises too: whole tracebacks, to the terminal."""
    return not record.exc_info


def _info(key: str, found: Mapping[str, Any]) -> ObjectInfo:
    modified = datetime.fromisoformat(found["updated"]).timestamp()
    # A generation is another with every write, and never comes back.
    return ObjectInfo(key, int(found["size"]), modified, str(found.get("generation") or ""))
