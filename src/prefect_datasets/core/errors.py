"""Every error that the engine raises, and who has to act on it.

    DatasetError                    base; `retryable` says whether the same call may succeed later
    ├── InvalidInputError           the caller: a name, a path or metadata is wrong (ValueError)
    │   ├── InvalidUriError         ... a URI
    │   └── InvalidMetadataError    ... the metadata of one or more files, all faults listed
    ├── NotFoundError               the caller: no such version, alias, object or file (LookupError)
    ├── AlreadyPublishedError       the caller: the version exists with other content
    ├── SourceChangedError          the caller: a file changed or vanished while it was read
    ├── IntegrityError              whoever runs the store: bytes differ from what was published
    ├── UnsupportedFormatError      the user: written by a newer release than this one
    ├── NoSpaceError                whoever runs the machine: the disk is full or would be
    └── StoreError                  whoever runs the store; retryable
        ├── AccessDeniedError       ... credentials missing or refused; not retryable
        └── ConflictError           a create-only write met an object that is there; not retryable

Each says what went wrong, for which object (`subject`) and what to do now (`hint`). They survive
pickling, because a failed run's state carries them across processes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class DatasetError(Exception):
    """What went wrong, for which URI, key or path, and what to do now.

    Args:
        message: What went wrong, without a full stop.
        subject: The URI, key or path it went wrong for.
        hint: What to do now, as a sentence.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, subject: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.subject = subject
        self.hint = hint

    @property
    def message(self) -> str:
        """What went wrong, alone."""
        return str(self.args[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __str__(self) -> str:
        where = f": {self.subject}" if self.subject else ""
        return f"{self.message}{where}. {self.hint}".rstrip()


class InvalidInputError(DatasetError, ValueError):
    """Something the caller wrote is wrong; `faults`, if any, lists each on a line of its own."""

    def __init__(
        self, message: str, *, subject: str = "", hint: str = "", faults: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, subject=subject, hint=hint)
        self.faults = faults

    def __str__(self) -> str:
        return "".join([super().__str__(), *(f"\n  {fault}" for fault in self.faults)])


class InvalidUriError(InvalidInputError):
    """A URI, a dataset name, a version name or an alias has a wrong form."""


class InvalidMetadataError(InvalidInputError):
    """Metadata of output files is wrong; `faults` lists every fault."""


class NotFoundError(DatasetError, LookupError):
    """No such version, alias, object or file."""


class AlreadyPublishedError(DatasetError):
    """The version exists and its files differ from the ones given."""


class SourceChangedError(DatasetError):
    """A file changed, shrank, grew or vanished while it was being published."""


class IntegrityError(DatasetError):
    """Stored bytes are not the ones that were published."""


class UnsupportedFormatError(DatasetError):
    """A stored format is newer than this release understands."""


class NoSpaceError(DatasetError):
    """The disk is full, or would be."""


class StoreError(DatasetError):
    """The store failed; the same call may succeed later."""

    retryable: ClassVar[bool] = True


class AccessDeniedError(StoreError):
    """The store refused the credentials, or found none."""

    retryable: ClassVar[bool] = False


class ConflictError(StoreError):
    """A create-only write met an object that is already there."""

    retryable: ClassVar[bool] = False
