"""The search for the culprits where NGINX names none: by halves (QuickXplain, Junker 2004)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def culprits(parts: Sequence[T], helps: Callable[[Iterable[T]], bool]) -> tuple[T, ...]:
    """Those of the parts that have to go, none of them needlessly; none where it does not help if all go.

    ``helps`` says whether it does if some of them go. One culprit among n costs about 2 log2 n questions.
    """
    return _needed((), parts, helps, ask=False) if parts and helps(parts) else ()


def _needed(
    gone: tuple[T, ...], parts: Sequence[T], helps: Callable[[Iterable[T]], bool], *, ask: bool
) -> tuple[T, ...]:
    """Those of ``parts`` that have to go beside those that are ``gone``; ``ask`` first, whether any have to."""
    if ask and helps(gone):
        return ()
    if len(parts) == 1:
        return tuple(parts)
    middle = len(parts) // 2
    first, second = parts[:middle], parts[middle:]
    later = _needed((*gone, *first), second, helps, ask=True)
    return (*_needed((*gone, *later), first, helps, ask=bool(later)), *later)
