"""The extracted versions on this machine: where they lie, and finding one that is ready.

    <root>/<area>/<group>/<name>/files/       the tree, read-only
                                 parts/       its tables
                                 leases/      who is using it
                                 ready        written last: with it the tree is complete
    <root>/pointers/<store>/<dataset>/<version>.json   which tree a version of a store is
    <root>/attempts/<area>/<group>/<name>/<id>/         trees in the making
    <root>/trash/                                       trees being deleted

An area is `versions` (group: the dataset), `views` (folders made of several trees) or `objects`
(files behind plain URLs). `docs/cache.md` says what each file holds and what may be deleted when.

Only the standard library is imported here: a resolve that finds its tree pays for nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from prefect_datasets.core.cache import hit, leases
from prefect_datasets.core.cache.hit import FORMAT, VERSIONS
from prefect_datasets.core.errors import InvalidInputError, UnsupportedFormatError
from prefect_datasets.core.uri import DatasetUri

VIEWS, OBJECTS, COPIES = "views", "objects", "copies"
AREAS = (VERSIONS, VIEWS, OBJECTS, COPIES)

_CONDEMNED = "condemned"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of a version are wanted.

    Attributes:
        include: Globs, any of which may match; empty for all files.
        shard: `(k, n)` for the k-th of n shares, counted from 0: neighbours in path order, of about
            the same number of bytes each.
    """

    include: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.shard is not None and not 0 <= self.shard[0] < self.shard[1]:
            raise InvalidInputError(
                "No such shard",
                subject="/".join(map(str, self.shard)),
                hint="Of N shards the first is 0/N and the last (N-1)/N.",
            )

    @property
    def is_all(self) -> bool:
        """Whether every file is wanted."""
        return not self.include and self.shard in (None, (0, 1))

    @property
    def name(self) -> str:
        """A short name, different for different selections; empty for all files."""
        if self.is_all:
            return ""
        body = json.dumps([sorted(set(self.include)), self.shard])
        return hashlib.sha256(body.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Ready:
    """What the file `ready` says about a complete tree.

    Attributes:
        uri: What was resolved, for people: a version's URI, or the URLs.
        digest: Digest of the whole version's files; of a view or of objects, their own.
        n_files: Number of files in the tree.
        n_bytes: Sum of their sizes.
        n_fetched_bytes: Bytes that came from the store, tables included.
        n_linked_files: Files that were linked from other trees.
        host: The host that made it, or that looked it through last.
        boot: The boot of that host: after a crash of the machine sizes are looked at once.
    """

    uri: str
    digest: str
    n_files: int
    n_bytes: int
    n_fetched_bytes: int = 0
    n_linked_files: int = 0
    host: str = ""
    boot: str = ""

    @property
    def is_of_earlier_boot(self) -> bool:
        """Whether this machine was started anew since the tree was made or looked through."""
        return self.host == leases.this_host() and self.boot != leases.this_boot()

    def to_json(self) -> bytes:
        """Write it."""
        return json.dumps({"format": FORMAT, **asdict(self)}).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Self | None:
        """Read it; None for anything else, such as one of a newer release."""
        try:
            body: dict[str, Any] = json.loads(data)
            if body.pop("format") != FORMAT:
                return None
            return cls(**body)
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Entry:
    """A place in the cache for one tree, whether or not it is there.

    Attributes:
        root: The cache's root.
        area: One of `AREAS`.
        group: What it belongs to; the dataset of a version.
        name: Its own name in the group.
    """

    root: Path
    area: str
    group: str
    name: str

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.root / self.area / self.group / self.name

    @property
    def files(self) -> Path:
        """The tree."""
        return self.folder / "files"

    @property
    def parts(self) -> Path:
        """Its tables."""
        return self.folder / "parts"

    @property
    def ready(self) -> Path:
        """The file that makes it complete."""
        return self.folder / "ready"

    @property
    def leases(self) -> Path:
        """Who is using it."""
        return self.folder / "leases"

    @property
    def condemned(self) -> Path:
        """`ready`, while a prune looks whether anybody came in the meantime."""
        return self.folder / _CONDEMNED

    @property
    def attempts(self) -> Path:
        """Where it is made."""
        return self.root / "attempts" / self.area / self.group / self.name

    def read_ready(self) -> Ready | None:
        """Return what `ready` says, or None where the tree is not complete."""
        try:
            ready = Ready.from_json(self.ready.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        return ready if self.files.is_dir() else None  # somebody may have deleted the files alone

    def is_of_newer_release(self) -> bool:
        """Tell whether `ready` is of a format that this release can't read; such a tree is kept."""
        try:
            version = json.loads(self.ready.read_bytes())["format"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return isinstance(version, int) and version > FORMAT

    def last_used(self) -> float:
        """Return when it was resolved last, in seconds since 1970; 0 if it is not there."""
        try:
            return self.ready.stat().st_mtime
        except OSError:
            return 0.0

    def is_in_use(self, *, now: float | None = None) -> bool:
        """Tell whether a lease on it holds."""
        try:
            names = os.listdir(self.leases)  # noqa: PTH208  (names are enough)
        except OSError:
            return False
        return any(leases.is_live(self.leases / name, now=now) for name in names)


class Cache:
    """The trees below one folder; processes, and machines that mount it, share it without a server.

    Args:
        root: The folder; made when it is first needed.
        max_bytes: Before a fetch, trees that were not used for longest are deleted until the rest
            and the new one take no more than this; without it, nothing is deleted unasked.
        grace_seconds: How long what is resolved stays in use after this process has ended: a
            command line ends before its user begins.
    """

    def __init__(
        self, root: Path, *, max_bytes: int | None = None, grace_seconds: float = 0.0
    ) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100  (resolve() would ask the disk)
        self.max_bytes = max_bytes
        self.grace_seconds = grace_seconds

    def __repr__(self) -> str:
        return f"Cache({str(self.root)!r})"

    # -- places

    def version(self, uri: DatasetUri, digest: str, selection: Selection) -> Entry:
        """Return the place of a version's tree, or of a selection of it."""
        name = hit.tree_name(uri.version, digest)
        if part := selection.name:
            name += f".{part}"
        return Entry(self.root, VERSIONS, uri.dataset, name)

    def entries(self, *areas: str) -> Iterator[Entry]:
        """Yield every place that exists, complete or not."""
        for area in areas or AREAS:
            for group in _folders(self.root / area):
                for name in self.names(area, group):
                    yield Entry(self.root, area, group, name)

    def names(self, area: str, group: str) -> list[str]:
        """Return the names of a group's places, complete or not."""
        return _folders(self.root / area / group)

    # -- pointers

    def _pointer(self, store: str, uri: DatasetUri) -> Path:
        return Path(hit.pointer(str(self.root), store, uri.dataset, uri.version))

    def digest_of(self, store: str, uri: DatasetUri, *, stamp: str = "") -> str | None:
        """Return the digest of a version of a store, if it was resolved here before.

        A version never changes, and a deleted name comes back with the same files or not at all.

        Args:
            store: The store's identity.
            uri: The version itself, no alias.
            stamp: Where the record can be looked at for nothing, what it looks like now.
        """
        try:
            body = json.loads(self._pointer(store, uri).read_bytes())
            return body["digest"] if body["stamp"] == stamp else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def point(self, store: str, uri: DatasetUri, digest: str, *, stamp: str = "") -> None:
        """Remember the digest of a version of a store; see `digest_of`."""
        path = self._pointer(store, uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps({"digest": digest, "stamp": stamp}).encode() + b"\n")

    # -- use

    def use(self, entry: Entry) -> Ready | None:
        """Lease a tree, mark it as used now, and return what it is; None where it isn't complete.

        The lease is there before `ready` is looked at, and a prune takes `ready` away before it
        looks at the leases: so one of them sees the other.

        Raises:
            UnsupportedFormatError: A newer release made the tree.
        """
        lease = self.lease(entry)
        if lease is None:
            return None
        ready = entry.read_ready()
        if ready is None:
            leases.give_back(lease)
            if entry.is_of_newer_release():
                raise _newer(entry)
            return None
        with contextlib.suppress(OSError):
            os.utime(entry.ready)
        return ready

    def lease(self, entry: Entry) -> Path | None:
        """Write this process's lease on a tree and return its file; None where no tree is."""
        lease = entry.leases / leases.lease_name(leases.this_process())
        try:
            leases.take(lease, until=self.term())
        except FileNotFoundError:
            # Somebody may have deleted the folder of the leases alone.
            return self.lease(entry) if _mend(entry) else None
        except NotADirectoryError:
            return None
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            return lease  # a cache that is mounted read-only is pruned by nobody here
        return lease

    def term(self) -> float:
        """Return until when a lease made now holds in any case: seconds since 1970, or 0."""
        return time.time() + self.grace_seconds if self.grace_seconds else 0.0


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that readers see the old one or the new one."""
    private = path.with_name(f".{os.getpid()}-{os.urandom(4).hex()}")
    try:
        private.write_bytes(data)
        private.replace(path)
    except BaseException:
        private.unlink(missing_ok=True)
        raise


def _newer(entry: Entry) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        "A newer release made this cached tree",
        subject=str(entry.folder),
        hint="Upgrade prefect-datasets, or use a cache of its own: set PREFECT_DATASETS_CACHE.",
    )


def _mend(entry: Entry) -> bool:
    """Make a complete tree's missing folder of leases; False where that is not what is missing."""
    try:
        entry.ready.stat()
        entry.leases.mkdir(exist_ok=True)
    except OSError:
        return False
    return True


def _folders(path: Path) -> list[str]:
    try:
        with os.scandir(path) as found:
            return sorted(item.name for item in found if item.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
