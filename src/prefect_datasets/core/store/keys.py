"""From the path of an output file to the key of its object.

Stores, their clients and proxies between them mangle some names: they fold `a//b`, resolve `..`,
take `%25` for `%`, cut a dot or a space off the end, or send XML that can't be read. A key has none
of these, whatever the file is called. `docs/stores.md` shows the rule to users.
"""

from __future__ import annotations

import re

# A store on a file system writes to hidden files of this name; no key may look like one.
TEMPORARY = ".@tmp-"

MAX_KEY_BYTES = 900  # S3 and GCS allow 1,024 for the key with the store's root and the execution
MAX_SEGMENT_BYTES = 255  # a file system allows no more

# Controls (ASCII's and Unicode's), what XML can't carry, what clients take for patterns, versions
# or escapes, and what Amazon's list of characters to avoid names.
_MANGLED = re.compile(
    '[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufdd0-\ufdef\ufffe\uffff\\\\%?#*\\[\\]{}^`|"<>~]'
)
# Azure drops a dot at the end of a segment, others a space at either end; `.` and `..` are folded.
_EDGES = re.compile(r"^[ \u00a0\u3000]|[ .\u00a0\u3000]$")


def key_of_path(path: str) -> str:
    """Return the key for the file at `path`; different paths have different keys.

    Most paths are their own key. Elsewhere a character that stores mangle stands as `%` and the hex
    digits of its bytes, as in a URL. A segment above 255 bytes then, or a key above 900, is
    replaced by `%~` and a SHA-256.

    Args:
        path: Relative, `/` between folders, valid UTF-8.
    """
    key = "/".join(_segment(part) for part in path.split("/"))
    if len(key.encode()) > MAX_KEY_BYTES:
        return _digest(path)
    return key


def _segment(name: str) -> str:
    if not name:
        return "%00"  # no name has a NUL, so that nothing else becomes this
    safe = _MANGLED.sub(_escape, name)
    safe = _EDGES.sub(_escape, safe)
    if safe.startswith(TEMPORARY):
        safe = f"%2E{safe[1:]}"
    if len(safe.encode()) > MAX_SEGMENT_BYTES:
        return _digest(name)
    return safe


def _digest(text: str) -> str:
    # Few names are that long, and hashlib loads OpenSSL.
    import hashlib  # noqa: PLC0415

    return f"%~{hashlib.sha256(text.encode()).hexdigest()}"


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())
