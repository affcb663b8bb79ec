"""UNIX sockets in folders whose path exceeds the length of a socket address (107 bytes, unix(7))."""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def reachable(folder: Path) -> Path:
    """A short path to ``folder``, valid as long as this process lives. Raises OSError for a missing folder."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return Path(f"/proc/self/fd/{descriptor}")
