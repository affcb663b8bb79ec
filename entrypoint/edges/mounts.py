"""Files that are bind-mounted by themselves, such as ``-v ./key.pem:/etc/nginx/key.pem``.

What the host writes into such a file is visible here. A file that takes its place on the host is not: the mount keeps
the old inode, which has no name any more.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

_ESCAPED = re.compile(rb"\\([0-7]{3})")


def alone(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The paths that are mount points and no folders; symbolic links above them are followed."""
    points, real = _points(), functools.cache(os.path.realpath)
    found = (path for path in paths if f"{real(path.parent).rstrip('/')}/{path.name}" in points)
    return tuple(path for path in found if not path.is_dir())


def replaced(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The files mounted by themselves (see `alone`) that were removed or replaced on the host."""
    return tuple(path for path in paths if _has_no_name(path))


def _has_no_name(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 0


def _points() -> frozenset[str]:
    """All mount points of /proc/self/mountinfo (proc(5)): the fifth field, with white space in octal."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return frozenset()
    fields = (line.split(b" ", 5) for line in lines)
    points = (_ESCAPED.sub(_byte, each[4]) for each in fields if len(each) > 4)
    return frozenset(map(os.fsdecode, points))


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 8),))
