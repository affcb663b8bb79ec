"""Durable files on file systems of all kinds; a missing feature is replaced by another means, or named."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from entrypoint.system import files

_libc = ctypes.CDLL(None, use_errno=True)
_UNABLE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM)  # as file systems say that they cannot
_NO_LINK = (*_UNABLE, errno.EMLINK, errno.EXDEV)


class Unsupported(OSError):
    """The file system lacks a feature that certfront requires; the text names it."""


class Locked(Exception):
    """Another certfront uses the same state folder."""


def content(path: str | Path) -> bytes:
    """The bytes of a regular file. Raises OSError, also for other kinds of files: a FIFO is not waited for."""
    with files.opened(path) as file:
        return file.read()


def holds(path: str, data: bytes) -> bool:
    """Whether a file's content equals ``data``."""
    try:
        return content(path) == data
    except OSError:
        return False


def write(path: str, data: bytes, *, sync: bool) -> None:
    """Write a new file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(descriptor)


def replace(path: Path, content: bytes, mode: int) -> None:
    """Replace a file by one rename, with this mode whatever the umask. Raises OSError."""
    staging = path.with_name(f".{path.name}.new")
    staging.unlink(missing_ok=True)
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
        staging.rename(path)
    except OSError:
        staging.unlink()
        raise


def link(source: str, target: str, *, sync: bool) -> None:
    """Make a hard link to a file, or a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        write(target, content(source), sync=sync)


def place(path: str, data: bytes, known: str, *, sync: bool) -> None:
    """Write a new file, or make a hard link to the file at ``known`` if its content is the same."""
    if known and holds(known, data):
        link(known, path, sync=sync)
    else:
        write(path, data, sync=sync)


def made(folders: dict[str, str], name: str) -> str:
    """The path of a file below ``folders``, a cache of folders by relative path; missing folders are made."""
    folder, _, base = name.rpartition("/")
    if folder not in folders:
        folders[folder] = made(folders, folder)
        os.mkdir(folders[folder], 0o700)  # noqa: PTH102 - a thousand of them
    return f"{folders[folder]}/{base}"


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, ignoring errors."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def require_links(folder: Path, name: str) -> None:
    """Raise `Unsupported` where a folder takes no symbolic links; ``name`` is a free name in it."""
    remove(folder / name)
    try:
        (folder / name).symlink_to("nowhere")
    except OSError as error:
        if error.errno in _UNABLE:
            raise Unsupported(error.errno, f"its file system has no symbolic links ({error.strerror})") from None
    remove(folder / name)


def is_read_only(folder: Path) -> bool:
    """Whether the file system of a path is mounted read-only."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def sync_file_system(folder: Path) -> None:
    """Sync the whole file system (syncfs(2)), other programs' files included: faster for thousands of files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        failed = ctypes.get_errno() if _libc.syncfs(descriptor) else 0
        if failed in _UNABLE:
            os.sync()
        elif failed:
            raise OSError(failed, os.strerror(failed), str(folder))
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """Sync a folder and all folders below it."""
    for folder, _, _ in os.walk(root, topdown=False):
        sync(Path(folder))


def sync(folder: Path) -> None:
    """Sync the directory entries of a folder; file systems without a call for it sync them by themselves."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock for as long as the context lasts; the kernel frees it when the process dies.

    On a read-only file system there is no lock. Raises `Locked`, `Unsupported`, and OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    else:
        _lock(descriptor, path)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Locked(str(path)) from None
    except OSError as error:
        os.close(descriptor)
        if error.errno in (*_UNABLE, errno.ENOLCK):
            raise Unsupported(error.errno, f"its file system has no locks ({error.strerror})", str(path)) from None
        raise
