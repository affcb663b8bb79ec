"""The search by halves for parts of a plan that NGINX refuses without naming them (QuickXplain, Junker 2004)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def culprits(parts: Sequence[T], helps: Callable[[Iterable[T]], bool]) -> tuple[T, ...]:
    """A minimal set of the parts whose removal helps; empty where even the removal of all does not.

    ``helps`` says whether the removal of some does. One culprit among n costs about 2 log2 n calls.
    """
    return _needed((), parts, helps, ask=False) if parts and helps(parts) else ()


def _needed(
    gone: tuple[T, ...], parts: Sequence[T], helps: Callable[[Iterable[T]], bool], *, ask: bool
) -> tuple[T, ...]:
    """The parts that must go besides those that are ``gone``; ``ask`` first whether any must."""
    if ask and helps(gone):
        return ()
    if len(parts) == 1:
        return tuple(parts)
    middle = len(parts) // 2
    first, second = parts[:middle], parts[middle:]
    later = _needed((*gone, *first), second, helps, ask=True)
    return (*_needed((*gone, *later), first, helps, ask=bool(later)), *later)
