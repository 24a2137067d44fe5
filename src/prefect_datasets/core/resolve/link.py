"""Hard links and copies between trees, many at once."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress

from prefect_datasets.core.cache.folders import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from prefect_datasets.core.cache.folders import Folders

# A link to another file system, one link too many, and file systems or owners without links.
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.EACCES)
_FICLONE = 0x40049409
_CHUNK = 1 << 30


def link_files(
    pairs: Iterable[tuple[str, str]], source: Folders, target: Folders, root: Path | str
) -> list[int]:
    """Make files of one tree in another, as hard links or, where there are none, as copies.

    Args:
        pairs: Path in the source and path in the target, of each file.
        source: The tree they are in.
        target: The tree they shall be in.
        root: The target's path, for errors.

    Returns:
        The numbers of the pairs whose source is gone.
    """
    missing: list[int] = []
    link = os.link
    old_folder = new_folder = None
    from_folder = to_folder = 0
    for number, (old, new) in enumerate(pairs):
        folder, _, old_name = old.rpartition("/")
        try:
            if folder != old_folder:
                from_folder = source.get(folder)
                old_folder = folder
            new_parent, _, new_name = (folder, "", old_name) if old is new else new.rpartition("/")
            if new_parent != new_folder:
                to_folder = target.get(new_parent)
                new_folder = new_parent
        except (FileNotFoundError, NotADirectoryError):  # of the target's: who writes it tells
            missing.append(number)
            continue
        try:
            link(
                old_name,
                new_name,
                src_dir_fd=from_folder,
                dst_dir_fd=to_folder,
                follow_symlinks=False,
            )
        except FileNotFoundError:
            missing.append(number)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise explain(error, new, root) from error
            copy_file(old_name, new_name, from_folder, to_folder, 0o444)
    return missing


def copy_files(
    pairs: Iterable[tuple[str, str]], source: Folders, target: Folders, root: Path | str
) -> list[int]:
    """Copy files of one tree to another, so that they may be written to; see `link_files`."""
    missing: list[int] = []
    for number, (old, new) in enumerate(pairs):
        old_folder, _, old_name = old.rpartition("/")
        new_folder, _, new_name = new.rpartition("/")
        try:
            from_folder, to_folder = source.get(old_folder), target.get(new_folder)
            copy_file(old_name, new_name, from_folder, to_folder, 0o644)
        except FileNotFoundError:
            missing.append(number)
        except OSError as error:
            raise explain(error, new, root) from error
    return missing


def copy_file(old: str, new: str, from_folder: int, to_folder: int, mode: int) -> None:
    """Copy one file, inside the file system where it can be done there."""
    source = os.open(old, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=from_folder)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(new, flags, mode, dir_fd=to_folder)
        try:
            _copy_bytes(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_bytes(source: int, target: int) -> None:
    with suppress(OSError):  # shares the blocks: XFS, btrfs
        fcntl.ioctl(target, _FICLONE, source)
        return
    with suppress(OSError):
        while os.copy_file_range(source, target, _CHUNK):
            continue
        return
    os.lseek(source, 0, os.SEEK_SET)
    os.ftruncate(target, 0)
    os.lseek(target, 0, os.SEEK_SET)
    while data := os.read(source, 1 << 20):
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(target, rest) :]
