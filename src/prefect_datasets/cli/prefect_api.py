"""Whether a Prefect API is configured, and what it has saved, asked without importing Prefect.

Prefect's import takes longer than most of what the command line does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from prefect_datasets.block_names import BLOCK_TYPE
from prefect_datasets.cli.api_settings import configured
from prefect_datasets.core.errors import StoreError

_TIMEOUT_SECONDS = 10.0
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class PrefectApi:
    """A Prefect API that is configured here.

    Attributes:
        url: Its address, ending in `/api` on a server of one's own.
        key: API key of Prefect Cloud, or an empty string.
        auth_string: `user:password` of a server of one's own, or an empty string.
    """

    url: str
    key: str = ""
    auth_string: str = ""

    def check(self) -> None:
        """Ask whether it is there.

        Raises:
            StoreError: It does not answer.
        """
        try:
            self._get("/health")
        except (OSError, ValueError) as error:
            raise self._unanswered(error, "The Prefect API that is configured") from error

    def saved_store(self, name: str) -> dict[str, Any] | None:
        """Return the fields of a saved DatasetStore block, secrets included, or None.

        Raises:
            StoreError: The API can't be asked.
        """
        from urllib.error import HTTPError  # noqa: PLC0415  0.05 s that few calls need

        path = f"/block_types/slug/{BLOCK_TYPE}/block_documents/name/{name}"
        try:
            document = self._get(f"{path}?include_secrets=true")
        except HTTPError as error:
            if error.code == _NOT_FOUND:
                return None
            raise self._unanswered(error, f"The Prefect API, asked for block {name!r},") from error
        except (OSError, ValueError) as error:
            raise self._unanswered(error, f"The Prefect API, asked for block {name!r},") from error
        return document["data"]

    def _get(self, path: str) -> Any:
        import base64  # noqa: PLC0415  likewise
        from urllib.request import Request, urlopen  # noqa: PLC0415  likewise

        headers = {"Accept": "application/json"}
        if self.auth_string:
            headers["Authorization"] = (
                "Basic " + base64.b64encode(self.auth_string.encode()).decode()
            )
        elif self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = Request(self.url.rstrip("/") + path, headers=headers)  # noqa: S310  the user's own
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as reply:  # noqa: S310
            return json.load(reply)

    def _unanswered(self, error: Exception, who: str) -> StoreError:
        return StoreError(
            f"{who} does not answer ({getattr(error, 'reason', error)})",
            subject=self.url,
            hint="Start it, or correct PREFECT_API_URL or the profile.",
        )


def configured_api() -> PrefectApi | None:
    """Return the Prefect API that flows started here would talk to; None for a throw-away one."""
    found = configured()
    return PrefectApi(**found) if found.get("url") else None
