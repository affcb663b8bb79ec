"""The times of the next check and of the next try."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_JITTER = 0.1
_PENDING_FIRST, _PENDING_GROWTH, _PENDING_MOST = 1.0, 1.5, 10.0  # seconds: somebody is waiting for the site
_RETRY_PART = 16  # the first retry after a failure comes after this part of the interval, the next after twice that
_GATED_FIRST, _REFUSED_MOST = 2.0, 3600.0  # seconds


def next_check(*, interval: float, failures: int, pending: bool, spread: float) -> float:
    """Seconds until the next check of a certificate.

    ``failures`` is the number of checks in a row that failed, ``spread`` a random number from -1 to 1 for the jitter
    (many fronts must not ask in step). A failing source is asked sooner than a good one, and never later than after
    one interval, so that a repair is seen within one.
    """
    if not failures:
        return interval * (1 + _JITTER * spread)
    if pending:
        return min(interval, _PENDING_MOST, _PENDING_FIRST * _PENDING_GROWTH ** min(failures - 1, 16))
    return min(interval, max(1.0, interval / _RETRY_PART) * 2.0 ** min(failures - 1, 16)) * (1 - _JITTER * abs(spread))


def longest(interval: float) -> float:
    """The upper bound of `next_check`, in seconds, rounded up."""
    return interval * (1 + _JITTER) + 1


def together(interval: float) -> float:
    """Seconds by which a check may come early, to share a cycle with others: half of the jitter."""
    return interval * _JITTER / 2


def retry_gated(attempts: int, interval: float) -> float:
    """Seconds until the next try of a gated part: it may only wait for an upstream to start."""
    return min(max(10.0, interval), _GATED_FIRST * 2.0 ** min(attempts - 1, 30))


def retry_refused(attempts: int, interval: float) -> float:
    """Seconds until the next try of an unchanged plan that was refused as a whole: each try may cost a reload."""
    return min(_REFUSED_MOST, max(10.0, interval) * 2.0 ** min(attempts - 1, 16))


class Retry(Generic[T]):
    """The result of a failed try, and the time of the next one, in ``retry`` seconds (see above) by the ``interval``.

    Times are of a monotonic clock: a step of the wall clock must neither end a pause nor prolong it.
    """

    value: T | None
    until: float

    def __init__(self, retry: Callable[[int, float], float], interval: float) -> None:
        self._retry, self._interval = retry, interval
        self.forget()

    def forget(self) -> None:
        """Permit the next try at once, after a change or a request."""
        self._digest, self.value, self._attempts = "", None, 0
        self.until = -math.inf

    def add(self, digest: str, value: T, now: float) -> None:
        """Remember the result of a try, by the digest of what was tried."""
        self._attempts = self._attempts + 1 if digest == self._digest else 1
        self._digest, self.value = digest, value
        self.until = now + self._retry(self._attempts, self._interval)

    def still(self, digest: str, now: float) -> T | None:
        """The result of the last try, None where a new one is permitted."""
        return self.known(digest) if now < self.until else None

    def known(self, digest: str) -> T | None:
        """The result of the last try, even where a new one is permitted."""
        return self.value if digest == self._digest else None
