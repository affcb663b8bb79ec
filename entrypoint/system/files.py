"""Reads of files that belong to other people: regular files only, up to a size limit, without blocking."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

LARGEST = 1024 * 1024  # bytes: no key, certificate or password file comes near
LARGEST_TEXT = 32 * 1024 * 1024  # for configurations with their maps of countries, and for bundles of roots
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read(path: str | Path, most: int = LARGEST) -> bytes:
    """The content of a file. Raises OSError, also for a file that is not regular or larger than ``most`` bytes.

    The kind is checked before opening: a FIFO would block the reader, and a device might never end.
    """
    _must_be_file(path, os.stat(path), most)  # noqa: PTH116 - a thousand of them
    with opened(path, most) as file:  # not to wait, should a pipe have taken its place since
        data = file.read(most + 1)
    if len(data) > most:
        raise _too_large(path, most)
    return data


def opened(path: str | Path, most: int | None = None) -> BufferedReader:
    """A regular file, opened for reading without blocking. Raises OSError as `read` does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _must_be_file(path, os.fstat(descriptor), most)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _must_be_file(path: str | Path, status: os.stat_result, most: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is no regular file but {kind}", str(path))
    if most is not None and status.st_size > most:
        raise _too_large(path, most)


def _too_large(path: str | Path, most: int) -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {most} bytes", str(path))
