"""Disk space in the run folder, reserved for certfront's own files against NGINX's temporary files.

A file of a few megabytes holds the space. A write that finds none left is repeated after a part of the file has been
released; the space is taken back as soon as possible. All writes to the run folder go through `writing`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from entrypoint.system import disk

T = TypeVar("T")

_NAME = ".reserve"
_MOST = 2 << 20  # bytes: the status of a thousand certificates twice over
_SHARE = 4  # a small file system is not filled by more than this part of it
_STEP = 64 << 10
_FULL = (errno.ENOSPC, errno.EDQUOT)


def take(run_dir: Path) -> None:
    """Reserve the full size, or as much as there is."""
    with contextlib.suppress(OSError), _opened(run_dir) as descriptor:
        total = os.statvfs(run_dir)
        wanted = min(_MOST, total.f_frsize * total.f_blocks // _SHARE)
        held = os.fstat(descriptor).st_size
        while held < wanted:
            step = min(_STEP, wanted - held)
            os.posix_fallocate(descriptor, held, step)
            held += step


def give_up(run_dir: Path, size: int = _MOST) -> bool:
    """Release at least ``size`` bytes, or all that is left; returns whether there was anything to release."""
    try:
        with _opened(run_dir) as descriptor:
            held = os.fstat(descriptor).st_size
            os.ftruncate(descriptor, max(0, held - size))
            return held > 0
    except OSError:
        return False


def writing(run_dir: Path, write: Callable[[], T]) -> T:
    """Call ``write`` and return its result, once more after a release where space is lacking. Raises OSError."""
    size = _STEP
    try:
        while True:
            try:
                return write()
            except OSError as error:
                if error.errno not in _FULL or not give_up(run_dir, size):
                    raise
            size *= 2
    finally:
        if size > _STEP:
            take(run_dir)


def replace(run_dir: Path, path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file in the run folder by one rename, with this mode whatever the umask. Raises OSError."""
    writing(run_dir, partial(disk.replace, path, content, mode))


def is_full(run_dir: Path) -> bool:
    """Whether the run folder has no space left for a small file."""
    try:
        return os.statvfs(run_dir).f_bavail == 0
    except OSError:
        return False


@contextlib.contextmanager
def _opened(run_dir: Path) -> Iterator[int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(run_dir / _NAME, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
