"""Which Prefect API is configured, read from where Prefect reads it and in its order.

Environment, `.env`, `prefect.toml`, `pyproject.toml`, the active profile. Prefect is not imported,
and nothing else that takes time unless a file says something.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# The three settings, as environment variables call them and as TOML files do below `api`.
_NAMES = {
    "PREFECT_API_URL": "url",
    "PREFECT_API_KEY": "key",
    "PREFECT_API_AUTH_STRING": "auth_string",
}


def configured() -> dict[str, str]:
    """Return `url`, `key` and `auth_string` as far as they are set; without `url` there is none."""
    found: dict[str, str] = {}
    for source in _sources():
        for name, value in source.items():
            found.setdefault(name, value)
    return found


def _sources() -> Iterator[dict[str, str]]:
    """Yield what each place says, the strongest first."""
    yield _named(os.environ)
    yield _named(_dotenv(".env"))
    yield _strings(_table(_toml("prefect.toml"), "api"))
    yield _strings(_table(_toml("pyproject.toml"), "tool", "prefect", "api"))
    yield _named(_active_profile())


def _active_profile() -> dict[str, Any]:
    home = os.path.expanduser(os.environ.get("PREFECT_HOME") or "~/.prefect")  # noqa: PTH111  (no pathlib)
    profiles = _toml(os.environ.get("PREFECT_PROFILES_PATH") or f"{home}/profiles.toml")
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return _table(profiles, "profiles", str(active))


def _named(variables: Mapping[str, Any]) -> dict[str, str]:
    return {short: str(variables[name]) for name, short in _NAMES.items() if variables.get(name)}


def _strings(api: dict[str, Any]) -> dict[str, str]:
    return {short: str(api[short]) for short in _NAMES.values() if api.get(short)}


def _toml(path: str) -> dict[str, Any]:
    """Read a TOML file; one that is missing or broken says nothing here: Prefect warns of it."""
    text = _text(path)
    if "prefect" not in text.lower() and "[api" not in text:
        return {}
    import tomllib  # noqa: PLC0415  most calls find no file to read

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _table(inside: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a table inside of others; an empty one where there is none, or something else."""
    for name in names:
        found: Any = inside.get(name)
        inside = found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]  (TOML)
    return inside


def _dotenv(path: str) -> dict[str, str]:
    """Read `NAME=value` lines; quotes around a value are taken off."""
    lines = _text(path).splitlines()
    pairs = (line.strip().removeprefix("export ").partition("=") for line in lines)
    return {name.strip(): value.strip().strip("'\"") for name, equals, value in pairs if equals}


def _text(path: str) -> str:
    """Return the text of a file, nothing where there is none."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  (no pathlib)
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""
