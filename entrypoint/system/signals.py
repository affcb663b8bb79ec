"""Signals of a long-lived process: handlers for a few, no effect for all others, whose default is mostly death."""

from __future__ import annotations

import signal
from collections.abc import Iterable

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# Two cannot be ignored; without the third, nobody could wait for a child.
_FIXED = frozenset((signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD))


def ignore_all_but(taken: Iterable[int]) -> None:
    """Ignore all signals but those given. Programs that are started from here inherit that: see `restore`."""
    for number in signal.valid_signals() - _FIXED - frozenset(taken):
        signal.signal(number, signal.SIG_IGN)


def restore(ignored: Iterable[int]) -> None:
    """Reset signals to their defaults in a child, before exec; those that it will handle later stay ``ignored``."""
    for number in signal.valid_signals() - _FIXED:
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
