"""The memory of a process that has started and will run for months."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def settle() -> None:
    """Return the memory that only the start needed, and exclude the permanent objects from garbage collection.

    Collections then look at few objects, and are frequent enough to keep memory flat.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError):  # malloc_trim(3) is glibc's own
        ctypes.CDLL(None).malloc_trim(0)
