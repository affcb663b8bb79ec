"""What is reported: each state at its border, the schema of status.json, and the blocks of the log."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.core import schedule, status
from entrypoint.core.model import CertificateInfo, KeyType, Outcome, Problem, State, Verdict
from entrypoint.core.status import Record
from entrypoint.core.times import rfc3339

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY, SECOND, INTERVAL = timedelta(days=1), timedelta(seconds=1), 300.0
INFO = CertificateInfo(
    names=("www.acme.io", "acme.io"),
    subject="CN=www.acme.io",
    issuer="CN=Issuing CA",
    serial="0A:0B",
    fingerprint_sha256="ab" * 32,
    key_type=KeyType.RSA,
    spki=b"spki",
    not_before=NOW - 10 * DAY,
    not_after=NOW + 90 * DAY,
)
SERVED = Record("www.acme.io", ("www.acme.io", "acme.io"), served=INFO, key_type=KeyType.RSA)
FAILURE = Problem(Outcome.UNREACHABLE, "certmgr.acme.com port 443: the connection was refused", "is it up?")


def _state(record: Record, now: datetime = NOW) -> State:
    return status.state(record, now, INTERVAL)


def test_pending() -> None:
    """Without a served certificate it is pending, whatever else is known."""
    assert _state(Record("www.acme.io", ())) is State.PENDING
    failing = replace(SERVED, served=None, failing_since=NOW - 30 * DAY, outcome=Outcome.UNREACHABLE)
    assert _state(failing) is State.PENDING


@pytest.mark.parametrize(
    ("failing", "state"), [(0, State.SERVING), (900, State.SERVING), (901, State.STALE), (10**6, State.STALE)]
)
def test_stale(failing: int, state: State) -> None:
    """It is stale once the source has failed for longer than three intervals."""
    assert _state(replace(SERVED, failing_since=NOW - failing * SECOND)) is state


@pytest.mark.parametrize(
    ("left", "state"),
    [
        (20 * DAY + SECOND, State.SERVING),
        (20 * DAY, State.SERVING),
        (20 * DAY - SECOND, State.EXPIRING),
        (SECOND, State.EXPIRING),
        (timedelta(0), State.EXPIRED),
        (-SECOND, State.EXPIRED),
        (-3650 * DAY, State.EXPIRED),
    ],
)
@pytest.mark.parametrize("failing", [False, True])
def test_dates(left: timedelta, state: State, failing: bool) -> None:
    """Below a fifth of its lifetime it is expiring, then expired; that outweighs a failing source."""
    now = INFO.not_after - left
    record = replace(SERVED, failing_since=now - DAY if failing else None)
    assert _state(record, now) is (State.STALE if failing and state is State.SERVING else state)


@pytest.mark.parametrize("lifetime", [timedelta(days=6), timedelta(days=47), timedelta(days=398)])
def test_expiring_follows_the_lifetime(lifetime: timedelta) -> None:
    """Short and long certificates are expiring at the same part of their lives."""
    record = replace(SERVED, served=replace(INFO, not_before=NOW, not_after=NOW + lifetime))
    assert _state(record, NOW + lifetime * 0.79) is State.SERVING
    assert _state(record, NOW + lifetime * 0.81) is State.EXPIRING


def test_a_month_without_certmgr() -> None:
    """CertMgr away for 30 days: serving, stale, expiring, in this order, and asked about once an interval."""
    record = replace(SERVED, served=replace(INFO, not_before=NOW - 60 * DAY, not_after=NOW + 33 * DAY))
    now, states, checks = NOW, [], 0
    while now < NOW + 30 * DAY:
        record = status.checked(record, FAILURE, Outcome.UNCHANGED, now)
        states.append(_state(record, now))
        delay = schedule.next_check(interval=INTERVAL, failures=record.failures, pending=False, spread=0)
        now, checks = now + timedelta(seconds=delay), checks + 1
    assert list(dict.fromkeys(states)) == [State.SERVING, State.STALE, State.EXPIRING]
    assert states == sorted(states, key=[State.SERVING, State.STALE, State.EXPIRING].index)
    assert 8640 <= checks <= 8650
    assert record.failures == checks
    assert record.failing_since == NOW
    healed = status.checked(record, None, Outcome.UNCHANGED, now)
    assert (healed.failures, healed.failing_since, healed.detail, healed.hint) == (0, None, "", "")


def test_checked() -> None:
    """A check's end is noted: outcome, detail and hint of the problem, or the good outcome."""
    failed = status.checked(SERVED, FAILURE, Outcome.INSTALLED, NOW)
    assert (failed.outcome, failed.detail, failed.hint) == (FAILURE.outcome, FAILURE.detail, FAILURE.hint)
    assert (failed.failures, failed.failing_since, failed.checked_at) == (1, NOW, NOW)
    again = status.checked(failed, replace(FAILURE, outcome=Outcome.NOT_TLS), Outcome.INSTALLED, NOW + DAY)
    assert (again.outcome, again.failures, again.failing_since) == (Outcome.NOT_TLS, 2, NOW)
    good = status.checked(again, None, Outcome.INSTALLED, NOW + 2 * DAY)
    assert (good.outcome, good.checked_at) == (Outcome.INSTALLED, NOW + 2 * DAY)


CERTIFICATE_KEYS = [
    *("name", "names", "key_type", "state", "outcome", "detail", "hint", "source", "certmgr"),
    *("fingerprint_sha256", "serial", "issuer", "not_before", "not_after", "days_left"),
    *("last_checked_at", "last_changed_at", "next_check_at"),
]


def _status(*records: Record) -> dict[str, Any]:
    nginx = {"version": "1.31.3", "running_since": None, "last_reload_at": None, "last_reload_ms": 12.5}
    found = status.status(records, generation=7, nginx=nginx, now=NOW, interval=INTERVAL)
    return dict(json.loads(json.dumps(found)))


def test_schema() -> None:
    """status.json holds exactly what the contract lists."""
    full = replace(
        status.checked(SERVED, None, Outcome.INSTALLED, NOW),
        certmgr="certmgr.acme.com",
        changed_at=NOW - DAY,
        next_check_at=NOW + 300 * SECOND,
    )
    found = _status(full)
    assert list(found) == ["generation", "updated_at", "nginx", "configuration", "certificates"]
    assert (found["generation"], found["updated_at"]) == (7, "2026-03-01T12:00:00Z")
    assert list(found["nginx"]) == ["version", "running_since", "last_reload_at", "last_reload_ms"]
    assert found["certificates"] == [
        {
            "name": "www.acme.io",
            "names": ["www.acme.io", "acme.io"],
            "key_type": "rsa",
            "state": "serving",
            "outcome": "installed",
            "detail": "",
            "hint": "",
            "source": "certmgr",
            "certmgr": "certmgr.acme.com",
            "fingerprint_sha256": "ab" * 32,
            "serial": "0A:0B",
            "issuer": "CN=Issuing CA",
            "not_before": "2026-02-19T12:00:00Z",
            "not_after": "2026-05-30T12:00:00Z",
            "days_left": 90.0,
            "last_checked_at": "2026-03-01T12:00:00Z",
            "last_changed_at": "2026-02-28T12:00:00Z",
            "next_check_at": "2026-03-01T12:05:00Z",
        }
    ]
    assert list(found["certificates"][0]) == CERTIFICATE_KEYS


def test_schema_of_a_pending_certificate() -> None:
    """A pending certificate has the same keys; what is not known is null, and the wanted names stand in."""
    (entry,) = _status(status.checked(Record("www.acme.io", ("www.acme.io",)), FAILURE, Outcome.INSTALLED, NOW))[
        "certificates"
    ]
    assert list(entry) == CERTIFICATE_KEYS
    assert (entry["state"], entry["outcome"], entry["names"]) == ("pending", "unreachable", ["www.acme.io"])
    assert (entry["detail"], entry["hint"]) == (FAILURE.detail, FAILURE.hint)
    unknown = {key for key, value in entry.items() if value is None}
    assert unknown == {
        *("key_type", "fingerprint_sha256", "serial", "issuer", "not_before", "not_after", "days_left"),
        *("last_changed_at", "next_check_at"),
    }


def test_schema_without_a_site() -> None:
    """Without a name there is an empty list."""
    assert _status()["certificates"] == []


@given(st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_rfc3339(moment: datetime) -> None:
    """Times are RFC 3339 in UTC, to the second."""
    text = rfc3339(moment)
    assert text is not None
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == moment.replace(microsecond=0)


def test_several_hosts() -> None:
    """Of several hosts' problems, a certificate that came back leads; all the others are told, none twice."""
    refused = Problem(Outcome.UNREACHABLE, "a port 443: the connection was refused", "a's hint")
    wrong = Problem(Outcome.WRONG_NAME, "got a certificate for c", "b's hint")
    garbled = Problem(Outcome.NOT_TLS, "c port 443: did not answer with TLS", "c's hint")
    host, found = status.of_several_hosts([("a", refused), ("b", wrong), ("c", garbled)])
    assert (host, found.outcome, found.hint) == ("b", Outcome.WRONG_NAME, "b's hint")
    assert found.detail.startswith(wrong.detail)
    for name, problem in (("a", refused), ("c", garbled)):
        assert found.detail.count(f"{name}: {problem.outcome}: {problem.detail}") == 1
    assert status.of_several_hosts([("a", refused)]) == ("a", refused)
    assert status.of_several_hosts([("c", garbled), ("a", refused)])[0] == "c"


def test_one_problem() -> None:
    """A verdict's problems become one: the first one's outcome, every detail, every hint once."""
    problems = (
        Problem(Outcome.WRONG_NAME, "one", "look"),
        Problem(Outcome.EXPIRED, "two", "look"),
        Problem(Outcome.UNTRUSTED, "three"),
    )
    assert status.one_problem(Verdict(None, problems)) == Problem(Outcome.WRONG_NAME, "one; two; three", "look")
    assert status.one_problem(Verdict(None)) is None


def test_not_ready() -> None:
    """Readiness names every certificate that is not served, with its reason, and is empty where all are."""
    pending = status.checked(Record("b.acme.io", ()), FAILURE, Outcome.INSTALLED, NOW)
    assert status.not_ready([SERVED, pending, Record("c.acme.io", ())]).splitlines() == [
        f"b.acme.io: unreachable: {FAILURE.detail}",
        "c.acme.io: pending: ",
    ]
    assert status.not_ready([SERVED]) == ""
    assert status.not_ready(iter(())) == ""


def test_block_of_a_change() -> None:
    """A change is one block: names, subject, issuer, dates, fingerprint and serial of the old and the new."""
    new = replace(INFO, fingerprint_sha256="cd" * 32, serial="0C", not_after=NOW + 180 * DAY)
    lines = status.change(SERVED, INFO, new).splitlines()
    assert lines[0] == "www.acme.io (rsa): new certificate"
    old_block, new_block = lines[1:5], lines[5:9]
    for title, block, info in (("old", old_block, INFO), ("new", new_block, new)):
        assert block[0] == f"  {title}: www.acme.io, acme.io"
        text = "\n".join(block)
        for fact in (info.subject, info.issuer, info.serial, info.fingerprint_sha256):
            assert fact in text
        assert f"valid {rfc3339(info.not_before)} to {rfc3339(info.not_after)}" in text
    assert len(lines) == 9
    assert status.change(SERVED, None, new).splitlines()[1] == "  old: none"


def test_block_of_a_refusal() -> None:
    """A refusal says why, what to do, what is served on, and what came back."""
    record = status.checked(SERVED, FAILURE, Outcome.INSTALLED, NOW)
    other = replace(INFO, names=("evil.io",), subject="", fingerprint_sha256="ef" * 32)
    lines = status.refusal(record, other).splitlines()
    assert lines[0] == f"www.acme.io: unreachable: {FAILURE.detail}"
    assert lines[1] == "  hint: is it up?"
    assert [line for line in lines if line.startswith("  served:")] == ["  served: www.acme.io, acme.io"]
    assert [line for line in lines if line.startswith("  refused:")] == ["  refused: evil.io"]
    assert "(empty)" in "\n".join(lines)
    pending = status.refusal(replace(record, served=None, hint=""), None)
    assert len(pending.splitlines()) == 2
    assert pending.splitlines()[1].startswith("  served: nothing yet")


def _many(separator: str, number: int = 500) -> str:
    return separator.join(f"name-{each}.acme.io" for each in range(number))


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("missing: " + _many(", "), "more"),
        ("; ".join(f"problem {each}: nothing fits" for each in range(300)), "more"),
        ("x" * 5000, "characters more"),
        ("one problem; " + "x" * 5000, "characters more"),
        ("short", "short"),
    ],
    ids=["names", "problems", "message", "problem and message", "short"],
)
def test_a_long_refusal_is_cut_in_the_log(detail: str, told: str) -> None:
    """Of long lists and messages the log has the beginning and how much more there is, all within 2 KB."""
    info = replace(INFO, names=tuple(_many(" ").split()), subject="CN=" + "x" * 5000)
    record = replace(status.checked(SERVED, Problem(Outcome.WRONG_NAME, detail, "y, " * 900), Outcome.UNCHANGED, NOW))
    text = status.refusal(replace(record, served=info), info)
    assert len(text.encode()) <= 2048 - len("2026-03-01T12:00:00Z WARNING ")
    assert told in text
    assert "hint: " in text
    assert "refused: name-0.acme.io, " in text


def test_what_is_left_out_is_counted() -> None:
    """What is named and what is counted is all of it."""
    text = _many(", ", 100)
    cut = status.cut(text, 300)
    named, _, more = cut.rpartition(", … and ")
    assert len(cut) < 330
    assert len(named.split(", ")) + int(more.removesuffix(" more")) == 100
    assert status.cut(text, len(text)) == text
