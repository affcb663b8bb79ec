"""When to look next."""

from __future__ import annotations

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
    """The most that `next_check` returns, in seconds, rounded up."""
    return interval * (1 + _JITTER) + 1


def together(interval: float) -> float:
    """Seconds by which a check may come early, to be one cycle with others: half of the jitter."""
    return interval * _JITTER / 2


def retry_gated(attempts: int, interval: float) -> float:
    """Seconds until NGINX is asked again for what it refused a part of: it may only wait for an upstream to start."""
    return min(max(10.0, interval), _GATED_FIRST * 2.0 ** min(attempts - 1, 30))


def retry_refused(attempts: int, interval: float) -> float:
    """Seconds until a generation that was refused as a whole is tried again unchanged: each try may cost a reload."""
    return min(_REFUSED_MOST, max(10.0, interval) * 2.0 ** min(attempts - 1, 16))
