"""Ownership of what root's NGINX and agent read: files that belong to root, and that no other user can write.

NGINX's workers run as another user, and so may an earlier container on the same volume. Files that such a user owns or
could have written are foreign: neither followed nor trusted. All functions work from above: once a folder is root's
alone, nobody else can exchange its entries.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_OURS = 0o755  # of a folder's mode, what is left to it


def claim(folder: Path) -> None:
    """Make a folder root's and writable for nobody else; a missing one stays missing. Raises OSError.

    A symbolic link in its place is followed if root owns it.
    """
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode) and found.st_uid:
        os.chown(folder, 0, 0, follow_symlinks=False)  # a root without capabilities may look into its own only
    path = folder.resolve() if stat.S_ISLNK(found.st_mode) and not _is_foreign(found) else folder
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _claim(descriptor)
    finally:
        os.close(descriptor)


def _claim(descriptor: int) -> None:
    found = os.fstat(descriptor)
    if found.st_uid:
        os.fchown(descriptor, 0, 0)
    if found.st_mode & _OTHERS:
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & _OURS)


def is_foreign(path: Path) -> bool:
    """Whether another user owns or could have written an entry of a claimed folder, or anything below it.

    Unreadable folders are foreign, and so are symbolic links below the entry: certfront's folders have none.
    """
    try:
        return _tree_is_foreign(str(path), path.lstat())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _tree_is_foreign(path: str, found: os.stat_result) -> bool:
    if _is_foreign(found):
        return True
    if not stat.S_ISDIR(found.st_mode):
        return False
    with os.scandir(path) as entries:
        return any(
            entry.is_symlink() or _tree_is_foreign(entry.path, entry.stat(follow_symlinks=False)) for entry in entries
        )


def _is_foreign(found: os.stat_result) -> bool:
    """Whether this one entry is foreign; a hard link to a symbolic link of root's may be another user's doing."""
    if stat.S_ISLNK(found.st_mode):
        return found.st_uid != 0 or found.st_nlink > 1
    return found.st_uid != 0 or bool(found.st_mode & _OTHERS)


def is_own_folder(path: Path) -> bool:
    """Whether an entry is a folder that root alone can write, whatever is below it."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and not _is_foreign(found)


def is_own_link(path: Path) -> bool:
    """Whether an entry is a symbolic link that root made."""
    found = path.lstat()
    return stat.S_ISLNK(found.st_mode) and not _is_foreign(found)


def discard(path: Path) -> None:
    """Remove an entry of a claimed folder, of any kind, without following links. Raises OSError."""
    if not stat.S_ISDIR(path.lstat().st_mode):
        path.unlink()
        return
    os.chown(path, 0, 0, follow_symlinks=False)
    # Not shutil's: foreign folders may be nested deeper than Python can recurse.
    done = subprocess.run(["rm", "-rf", "--", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(0, f"it cannot be removed: {done.stderr.strip()[:500]}", str(path))


def set_aside(path: Path, folder: Path) -> None:
    """Move a folder into another one that only root can enter. Raises OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(path, 0, 0, follow_symlinks=False)  # to be moved by a root without capabilities
    path.rename(folder / path.name)


def kept_apart(path: Path) -> str:
    """The folder above ``path`` in which another user can exchange it; empty where there is none."""
    for folder in Path(os.path.realpath(path)).parents:
        found = folder.stat()
        writable = found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid)
        if found.st_uid or (writable and not found.st_mode & stat.S_ISVTX):
            return str(folder)
    return ""
