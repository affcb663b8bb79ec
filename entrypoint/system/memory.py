"""Memory of a process that has started, and will do the same for months."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def settle() -> None:
    """Give back what only the start needed, and keep what stays for good out of the garbage collector's way.

    A collection then looks at little, and comes often enough to keep memory flat.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError):  # malloc_trim(3) is glibc's own
        ctypes.CDLL(None).malloc_trim(0)
