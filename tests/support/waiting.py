"""The one way in which tests wait: for what is seen, never for a time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0  # seconds: for what comes in about one, on a machine with much else to do
_PAUSE = 0.02


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE, more: Callable[[], str] = str) -> T:
    """Looks until a condition holds, and returns its value. ``more`` is asked for words where it never does."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s{more()}"
        time.sleep(_PAUSE)
    return found
