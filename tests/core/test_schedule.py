"""When the next look comes: jitter, retries, and the pending site's haste."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core.schedule import Retry, longest, next_check, retry_gated, retry_refused

INTERVALS = st.floats(1, 10 * 366 * 86400)
SPREADS = st.floats(-1, 1)
FAILURES = st.integers(1, 100_000)


@given(INTERVALS, SPREADS, st.booleans())
def test_jitter(interval: float, spread: float, pending: bool) -> None:
    """A good check is repeated after the interval, give or take a tenth; many fronts do not ask in step."""
    delay = next_check(interval=interval, failures=0, pending=pending, spread=spread)
    assert 0.9 * interval <= delay <= 1.1 * interval * (1 + 1e-9)
    early, late = (next_check(interval=interval, failures=0, pending=False, spread=s) for s in (-1, 1))
    assert early < delay < late or abs(spread) > 0.999 or interval * 0.2 < 1e-6


@given(INTERVALS, FAILURES, SPREADS, st.booleans())
def test_never_later_than_one_interval(interval: float, failures: int, spread: float, pending: bool) -> None:
    """A failing source is asked again within one interval, however often it has failed, and never at once."""
    delay = next_check(interval=interval, failures=failures, pending=pending, spread=spread)
    assert 0.5 <= delay <= interval


@given(INTERVALS, FAILURES, SPREADS)
def test_pending_asks_within_seconds(interval: float, failures: int, spread: float) -> None:
    """While nothing is served yet, somebody waits: the next look comes within ten seconds."""
    assert next_check(interval=interval, failures=failures, pending=True, spread=spread) <= 10


@given(st.floats(20, 1e6), st.integers(1, 60), SPREADS)
def test_back_off(interval: float, failures: int, spread: float) -> None:
    """Each further failure waits at least as long as the one before it, up to the interval."""
    delays = [
        next_check(interval=interval, failures=number, pending=pending, spread=spread)
        for pending in (False, True)
        for number in (failures, failures + 1)
    ]
    assert delays[0] <= delays[1]
    assert delays[2] <= delays[3]
    assert next_check(interval=interval, failures=60, pending=False, spread=0) == interval


def test_first_retry_is_soon() -> None:
    """The first retry of a five-minute interval comes within 20 seconds."""
    assert next_check(interval=300, failures=1, pending=False, spread=0) < 20
    assert next_check(interval=300, failures=1, pending=True, spread=0) <= 1


@given(INTERVALS, st.integers(0, 1000), SPREADS, st.booleans())
def test_longest(interval: float, failures: int, spread: float, pending: bool) -> None:
    """No check is ever planned further ahead than `longest` says."""
    assert next_check(interval=interval, failures=failures, pending=pending, spread=spread) <= longest(interval)


@given(INTERVALS, st.integers(1, 100_000))
def test_refused_generations(interval: float, attempts: int) -> None:
    """A refused generation is tried again after ten seconds at the earliest, ever more rarely, at last every hour."""
    delay = retry_refused(attempts, interval)
    assert 10 <= delay <= 3600
    assert delay <= retry_refused(attempts + 1, interval)
    assert retry_refused(20, interval) == 3600


@given(INTERVALS, st.integers(1, 100_000))
def test_refused_parts(interval: float, attempts: int) -> None:
    """What NGINX refused a part of is tried again within seconds, then ever more rarely, at last once an interval."""
    delay = retry_gated(attempts, interval)
    assert 2 <= delay <= max(10, interval)
    assert delay <= retry_gated(attempts + 1, interval)
    assert retry_gated(1, interval) == 2
    assert retry_gated(60, interval) == max(10, interval)


@given(st.floats(1, 100_000), st.integers(1, 30))
def test_retry(interval: float, attempts: int) -> None:
    """A refused plan rests for ten seconds or more, ever longer up to an hour; another plan, or a request, does not."""
    retry, now, waits = Retry[str](retry_refused, interval), 0.0, []
    for _ in range(attempts):
        retry.add("plan", "no", now)
        assert retry.still("plan", now + 9.9) == "no"
        assert retry.still("other", now) is None
        end = now
        while retry.still("plan", end):
            end += 5
        waits.append(end - now)
        now = end
    assert waits == sorted(waits)
    assert max(waits) <= 3605
    retry.add("plan", "no", now)
    retry.forget()
    assert retry.still("plan", now) is None


def test_nothing_refused() -> None:
    """At first, nothing is refused."""
    assert Retry[str](retry_refused, 300).still("", 0) is None
