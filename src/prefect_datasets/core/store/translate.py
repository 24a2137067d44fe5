"""From the errors of libraries to ours: the one place that knows them.

A failure is looked at in three steps: what the library says is gathered into a `Failure` (HTTP
status, the store's code, its words), that is put into one of few kinds, and each kind is one of our
errors with one hint. Libraries are told by the names of their errors, so that none is imported.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect_datasets.core.errors import (
    AccessDeniedError,
    ConflictError,
    DatasetError,
    InvalidInputError,
    NoSpaceError,
    NotFoundError,
    StoreError,
)

if TYPE_CHECKING:
    from prefect_datasets.core.store.base import Store

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY)

_BUCKETS = {"s3", "gs", "az", "abfs", "abfss"}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_WRONG_KEY = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "AuthenticationFailed",
    "InvalidSecurity",
    "AuthorizationHeaderMalformed",
}
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "UnauthorizedSSOTokenError",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "DefaultCredentialsError",
    "RefreshError",
    "ClientAuthenticationError",
    "CredentialUnavailableError",
}
_UNREACHABLE = {
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ProxyConnectionError",
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "ServiceRequestError",
    "ServiceRequestTimeoutError",
    "gaierror",
    "ConnectionRefusedError",
}
_DAMAGED = {"FlexibleChecksumError", "ChecksumError", "BadDigest", "XAmzContentSHA256Mismatch"}
_PRESENT = {"FileExistsError", "AlreadyExistsError", "ResourceExistsError"}
_CONDITION = {"PreconditionFailed", "ConditionalRequestConflict", "BlobAlreadyExists"}

_CODE = re.compile(r"<Code>(\w+)</Code>")
_WORDS = re.compile(r"<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3})")
_SECRET_NAME = re.compile(
    r"secret|token|passw|passphrase|connection_string|account_key|sas|credential|private",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"(?i)((?:sig|signature|accountkey|password|secret|token|x-amz-[a-z-]+)=)[^&;,\s\"'<>]+"
)


@contextmanager
def translating(what: str, store: Store, key: str) -> Generator[None]:
    """Raise the engine's error for whatever a library raises in the block.

    Args:
        what: What is tried, as an infinitive: `read`.
        store: Where.
        key: On which object.
    """
    try:
        yield
    except (DatasetError, AssertionError):
        raise
    except Exception as error:
        raise translated(error, what=what, store=store, key=key) from error


def translated(error: Exception, *, what: str, store: Store, key: str) -> DatasetError:
    """Return the engine's error for `error`."""
    where = store.url_of(key)
    failure = Failure.of(error)
    if store.kind == "file":
        return _local_error(failure, what=what, where=where)
    if isinstance(error, ImportError):
        return missing_package(store.kind, error)
    return _remote_error(failure, what=what, where=where, store=store)


@dataclass(frozen=True, slots=True)
class Failure:
    """What a library says of a failure.

    Attributes:
        names: Class names of the error, its bases and its causes'.
        number: Its `errno`, or 0.
        status: The HTTP status, or 0.
        code: The store's own code, such as `NoSuchBucket`, or an empty string.
        words: What it says, one line, with nothing of the request in it.
    """

    names: frozenset[str]
    number: int
    status: int
    code: str
    words: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Gather it from `error` and what caused it."""
        chain = list(_chain(error))
        names = frozenset(kind.__name__ for link in chain for kind in type(link).__mro__)
        found = [_from_library(link) for link in chain]
        return cls(
            names=names,
            number=next((link.errno or 0 for link in chain if isinstance(link, OSError)), 0),
            status=next((status for status, _, _ in found if status), 0),
            code=next((code for _, code, _ in found if code), ""),
            words=next((words for _, _, words in found if words), type(error).__name__),
        )

    @property
    def is_absent(self) -> bool:
        """Whether the object is not there."""
        return "FileNotFoundError" in self.names or self.status == 404

    @property
    def is_conflict(self) -> bool:
        """Whether a create-only write was refused because something is there."""
        if self.code:
            return self.code in _CONDITION or "AlreadyExistsError" in self.names
        return self.status == 412 or bool(self.names & _PRESENT)

    @property
    def is_unsupported(self) -> bool:
        """Whether the store does not know conditions."""
        return self.status == 501 or self.code == "NotImplemented" or self.number == errno.ENOSYS

    @property
    def is_out_of_range(self) -> bool:
        """Whether a range begins behind the object's end."""
        return self.status == 416 or self.code == "InvalidRange"

    @property
    def is_damaged(self) -> bool:
        """Whether bytes did not arrive as they were sent."""
        return bool(self.names & _DAMAGED) or self.code in _DAMAGED


def missing_package(scheme: str, error: ImportError | None = None) -> StoreError:
    """Return the error for a scheme whose filesystem is not installed."""
    extras = {"az": "azure", "abfs": "azure", "abfss": "azure", "adl": "azure"}
    if extra := extras.get(scheme):
        hint = f'Run: pip install "prefect-datasets[{extra}]"'
    else:
        hint = f"{error}" if error else "Install the package that fsspec names for it."
    return StoreError(f"No package for {scheme}:// is installed", subject=scheme, hint=hint)


def redacted(text: str, options: Mapping[str, object]) -> str:
    """Return `text` without the secrets of `options` and of signed URLs."""
    text = _SECRET_VALUE.sub(r"\1***", text)
    for secret in _secrets(options):
        text = text.replace(secret, "***")
    return text


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _secrets(value)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, str) and len(value) > 5 and _SECRET_NAME.search(name):
            yield value


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _from_library(error: BaseException) -> tuple[int, str, str]:
    """Return status, code and words of one error: botocore's, gcsfs's, Azure's, obstore's, any."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        return _from_botocore(response)  # pyright: ignore[reportUnknownArgumentType]
    text = str(error)
    if type(error).__module__.startswith("obstore") or "\n\nDebug source:" in text:
        return _from_obstore(text)
    status = _number(getattr(error, "status_code", None) or getattr(error, "code", None))
    status = status or _number(getattr(error, "status", None))
    code = getattr(error, "error_code", None)
    return status, str(getattr(code, "value", code) or ""), _first_line(text)


def _from_botocore(response: Mapping[str, Any]) -> tuple[int, str, str]:
    status = _number(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    code = str(response["Error"].get("Code") or "")
    words = str(response["Error"].get("Message") or code)
    # A reply to HEAD has no body: botocore puts the status where the code belongs.
    return (status or int(code), "", words) if code.isdigit() else (status, code, words)


def _from_obstore(text: str) -> tuple[int, str, str]:
    said = text.partition("\n\nDebug source:")[0]
    status, code, words = _STATUS.search(said), _CODE.search(said), _WORDS.search(said)
    tail = said.rpartition(" - ")[2]
    return (
        int(status[1]) if status else 0,
        code[1] if code else "",
        words[1] if words else _first_line(tail),
    )


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else 0


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:300] if lines else ""


def _local_error(failure: Failure, *, what: str, where: str) -> DatasetError:
    if failure.is_absent:
        return NotFoundError("No such object", subject=where)
    if failure.number in _NO_SPACE:
        hint = "Make room, or use another store."
        return NoSpaceError(f"No space left to {what} an object", subject=where, hint=hint)
    if failure.number in _DENIED:
        hint = "Check the owner and the permissions of the folder."
        return AccessDeniedError(f"Not allowed to {what}", subject=where, hint=hint)
    if failure.number in _IN_THE_WAY:
        hint = "On a file system a name is a file or a folder, never both: rename one of the two."
        return InvalidInputError("A file and a folder share a name", subject=where, hint=hint)
    if failure.number == errno.ENAMETOOLONG:
        hint = "Shorten the file's path."
        return InvalidInputError("The name is too long", subject=where, hint=hint)
    return StoreError(f"Could not {what}: {failure.words}", subject=where)


def _remote_error(failure: Failure, *, what: str, where: str, store: Store) -> DatasetError:
    words = redacted(failure.words, store.options)
    if failure.is_absent:
        return _absent(failure, what=what, where=where, store=store)
    if failure.is_conflict:
        return ConflictError("The object is there already", subject=where)
    refused = _refused(failure, words, what=what, where=where)
    return refused or _failed(failure, words, what=what, where=where, store=store)


def _failed(failure: Failure, words: str, *, what: str, where: str, store: Store) -> StoreError:
    if failure.names & _UNREACHABLE or "error sending request" in words:
        hint = "Check the endpoint and the network."
        message = f"The store can't be reached ({words})"
        return StoreError(message, subject=store.endpoint or store.url, hint=hint)
    if failure.is_unsupported:
        hint = "Use a store with conditional writes (docs/stores.md)."
        return StoreError(f"The store can't {what} under a condition", subject=where, hint=hint)
    if failure.is_damaged:
        hint = "Look at what stands between here and the store, then try again."
        return StoreError("The bytes were damaged on the way", subject=where, hint=hint)
    return StoreError(f"Could not {what} ({_said(failure, words)})", subject=where)


def _absent(failure: Failure, *, what: str, where: str, store: Store) -> NotFoundError:
    # To write or to list is refused so for one reason only, even where the store names none.
    is_bucket = what in ("write", "create", "list") and store.kind in _BUCKETS
    if failure.code in _NO_BUCKET or is_bucket:
        hint = "Create it, or correct the store's URL."
        return NotFoundError(f"No such bucket {store.bucket!r}", subject=store.url, hint=hint)
    return NotFoundError("No such object", subject=where)


def _refused(failure: Failure, words: str, *, what: str, where: str) -> DatasetError | None:
    if "ProfileNotFound" in failure.names:
        hint = "Run `aws configure list-profiles` to see which there are."
        return InvalidInputError(f"No such AWS profile ({words})", subject=where, hint=hint)
    return _denied(failure, words, what=what, where=where)


def _denied(failure: Failure, words: str, *, what: str, where: str) -> AccessDeniedError | None:
    if failure.names & _NO_CREDENTIALS or "Must provide either a connection_string" in words:
        hint = "Set the store's credentials in its options, the environment or a profile."
        return AccessDeniedError(f"No usable credentials ({words})", subject=where, hint=hint)
    if failure.code in _EXPIRED:
        hint = "Get new credentials and try again."
        return AccessDeniedError("The credentials have expired", subject=where, hint=hint)
    if failure.code in _WRONG_KEY or failure.status == 401:
        hint = "Check the key and the secret, and the machine's clock."
        message = f"The store refused the credentials ({words})"
        return AccessDeniedError(message, subject=where, hint=hint)
    if failure.status == 403 or "PermissionError" in failure.names:
        hint = "Check the credentials and what they may do on this bucket."
        message = f"The store refused to {what} ({words})"
        return AccessDeniedError(message, subject=where, hint=hint)
    return None


def _said(failure: Failure, words: str) -> str:
    facts = [str(failure.status) if failure.status else "", failure.code, words]
    return ", ".join(dict.fromkeys(fact for fact in facts if fact))
