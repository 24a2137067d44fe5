"""Whether a Prefect API is configured, and what it has saved, asked without importing Prefect.

Prefect's import takes longer than most of what the command line does. Its settings are read here
from where Prefect reads them, in its order: environment, `.env`, `prefect.toml`, `pyproject.toml`,
the active profile.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK_TYPE = "dataset-store"
_TIMEOUT_SECONDS = 10.0
_NOT_FOUND = 404
# The three settings, as environment variables call them and as TOML files do below `api`.
_NAMES = {
    "PREFECT_API_URL": "url",
    "PREFECT_API_KEY": "key",
    "PREFECT_API_AUTH_STRING": "auth_string",
}


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

        path = f"/block_types/slug/{_BLOCK_TYPE}/block_documents/name/{name}"
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
    found: dict[str, str] = {}
    for source in _sources():
        for name, value in source.items():
            found.setdefault(name, value)
    if not found.get("url"):
        return None
    return PrefectApi(**found)


def _sources() -> Iterator[dict[str, str]]:
    """Yield what each place says, the strongest first."""
    yield _named(dict(os.environ))
    yield _named(_dotenv(Path(".env")))
    yield _strings(_toml(Path("prefect.toml")).get("api", {}))
    yield _strings(_toml(Path("pyproject.toml")).get("tool", {}).get("prefect", {}).get("api", {}))
    yield _named(_active_profile())


def _active_profile() -> dict[str, Any]:
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    profiles = _toml(Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml"))
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return profiles.get("profiles", {}).get(active, {})


def _named(variables: dict[str, Any]) -> dict[str, str]:
    return {short: str(variables[name]) for name, short in _NAMES.items() if variables.get(name)}


def _strings(api: dict[str, Any]) -> dict[str, str]:
    return {short: str(api[short]) for short in _NAMES.values() if api.get(short)}


def _toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; one that is missing or broken says nothing here: Prefect warns of it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    if "prefect" not in text.lower() and "[api" not in text:
        return {}
    import tomllib  # noqa: PLC0415  most calls find no file to read

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _dotenv(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; quotes around a value are taken off."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.strip().removeprefix("export ").partition("=") for line in lines)
    return {name.strip(): value.strip().strip("'\"") for name, equals, value in pairs if equals}
