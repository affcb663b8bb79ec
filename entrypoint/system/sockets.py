"""UNIX sockets in a folder whose path may be longer than a socket's address can hold (107 bytes, unix(7))."""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def reachable(folder: Path) -> Path:
    """A short path to ``folder``, valid in this process as long as it lives. Raises OSError where there is none."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return Path(f"/proc/self/fd/{descriptor}")
