"""The status for people and programs: states, ``status.json``, and the blocks of the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from entrypoint.core.model import CertificateInfo, KeyType, Outcome, Problem, State, Verdict
from entrypoint.core.shown import all_shown, shown
from entrypoint.core.times import rfc3339

_STALE_INTERVALS = 3
_EXPIRING_PART = 5
_LONG, _SHORT, _NAME = 600, 200, 80  # characters of a detail, of a list or a hint, of a name; a block has two lists
_FACTS = ("fingerprint_sha256", "serial", "issuer", "not_before", "not_after")  # see `CertificateInfo.as_json`
_CONNECTION = (Outcome.UNREACHABLE, Outcome.NOT_TLS, Outcome.HANDSHAKE_FAILED, Outcome.NO_CERTIFICATE)


@dataclass(frozen=True)
class Record:
    """A certificate's status: the served leaf, and the result of the last check. Times are aware and in UTC."""

    name: str
    wanted: tuple[str, ...]
    source: str = "certmgr"
    key_type: KeyType | None = None
    served: CertificateInfo | None = None
    outcome: Outcome | None = None
    detail: str = ""
    hint: str = ""
    certmgr: str = ""
    checked_at: datetime | None = None
    changed_at: datetime | None = None
    next_check_at: datetime | None = None
    failing_since: datetime | None = None
    failures: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the served certificate, otherwise the wanted names."""
        return self.served.names if self.served else self.wanted


def state(record: Record, now: datetime, interval: float) -> State:
    """The state at ``now``; ``interval`` in seconds. Dates outweigh a failing source, as visitors see them."""
    if record.served is None:
        return State.PENDING
    lifetime = record.served.not_after - record.served.not_before
    left = record.served.not_after - now
    if left <= timedelta(0):
        return State.EXPIRED
    if left < lifetime / _EXPIRING_PART:
        return State.EXPIRING
    failing = now - record.failing_since if record.failing_since else timedelta(0)
    return State.STALE if failing > timedelta(seconds=_STALE_INTERVALS * interval) else State.SERVING


def checked(
    record: Record, problem: Problem | None, good: Outcome, now: datetime, warnings: tuple[Problem, ...] = ()
) -> Record:
    """The record after a check that ended with ``problem``, or else with ``good`` and maybe ``warnings``."""
    if problem is None:
        since, failures = None, 0
        found = replace(joined(warnings), outcome=good) if warnings else Problem(good, "")
    else:
        since, failures, found = record.failing_since or now, record.failures + 1, problem
    return replace(
        record,
        outcome=found.outcome,
        detail=found.detail,
        hint=found.hint,
        checked_at=now,
        failing_since=since,
        failures=failures,
    )


def one_problem(verdict: Verdict) -> Problem | None:
    """All problems of a verdict as one, None where there are none."""
    return joined(verdict.problems) if verdict.problems else None


def of_several_hosts(problems: Iterable[tuple[str, Problem]]) -> tuple[str, Problem]:
    """The problem to report when every host failed: one about a presented certificate before one about a connection."""
    ordered = sorted(problems, key=lambda item: item[1].outcome in _CONNECTION)
    host, first = ordered[0]
    others = "".join(f"; {other}: {problem.outcome}: {problem.detail}" for other, problem in ordered[1:])
    return host, Problem(first.outcome, first.detail + others, first.hint)


def joined(problems: tuple[Problem, ...]) -> Problem:
    """Several problems as one, with the first one's outcome."""
    details = "; ".join(problem.detail for problem in problems)
    hints = " ".join(dict.fromkeys(problem.hint for problem in problems if problem.hint))
    return Problem(problems[0].outcome, details, hints)


def status(  # noqa: PLR0913 - all of it is shown
    records: Iterable[Record],
    *,
    generation: int,
    nginx: Mapping[str, Any],
    now: datetime,
    interval: float,
    commented_out: Mapping[str, str] | None = None,
    warnings: Iterable[tuple[str, str]] = (),
    problem: Problem | None = None,
) -> dict[str, Any]:
    """The content of ``/status.json``, fit for JSON: bytes that are not UTF-8 are escaped.

    ``commented_out`` are the gated parts of the user's configuration with their reasons; ``warnings`` are about running
    parts that are probably mistakes; ``problem`` is the reason why the current configuration as a whole is unknown or
    refused.
    """
    found = {
        "generation": generation,
        "updated_at": rfc3339(now),
        "nginx": dict(nginx),
        "configuration": _configuration(problem, (commented_out or {}).items(), warnings),
        "certificates": [_certificate(record, now, interval) for record in records],
    }
    return dict(all_shown(found))


def _configuration(
    problem: Problem | None, commented_out: Iterable[tuple[str, str]], warnings: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """Places in the user's files, each with the reason."""
    places, others = ([{"where": where, "reason": why} for where, why in each] for each in (commented_out, warnings))
    return {"problem": problem.detail if problem else "", "commented_out": places, "warnings": others}


def _certificate(record: Record, now: datetime, interval: float) -> dict[str, Any]:
    served = record.served
    return {
        "name": record.name,
        "names": list(record.names),
        "key_type": record.key_type,
        "state": state(record, now, interval),
        "outcome": record.outcome,
        "detail": record.detail,
        "hint": record.hint,
        "source": record.source,
        "certmgr": record.certmgr,
        **(served.as_json() if served else dict.fromkeys(_FACTS)),
        "days_left": round((served.not_after - now) / timedelta(days=1), 1) if served else None,
        "last_checked_at": _time(record.checked_at),
        "last_changed_at": _time(record.changed_at),
        "next_check_at": _time(record.next_check_at),
    }


def not_ready(records: Iterable[Record], besides: str = "") -> str:
    """The text of ``/readyz``: a line for each certificate that is not served, and ``besides``; empty if ready."""
    missing = [record for record in records if record.served is None]
    lines = [f"{record.name}: {record.outcome or 'pending'}: {record.detail}" for record in missing]
    return shown("\n".join(filter(None, [*lines, besides])))


def change(record: Record, old: CertificateInfo | None, new: CertificateInfo) -> str:
    """The log block of a change: the old certificate and the new one."""
    kind = f" ({record.key_type})" if record.key_type else ""
    return "\n".join([f"{record.name}{kind}: new certificate", *_block("old", old), *_block("new", new)])


def refusal(record: Record, found: CertificateInfo | None) -> str:
    """The log block of a refusal: the reason, the served certificate and the refused one; long lists are cut."""
    lines = [f"{record.name}: {record.outcome}: {cut(record.detail, _LONG)}"]
    lines += [f"  hint: {cut(record.hint, _SHORT)}"] if record.hint else []
    lines += _block("served", record.served) if record.served else ["  served: nothing yet"]
    return "\n".join(lines + (_block("refused", found) if found else []))


def cut(text: str, most: int) -> str:
    """The text, cut to about ``most`` characters, with the number of list items that are left out."""
    if len(text) <= most:
        return text
    separator = max(("; ", ", "), key=text[:most].rfind)
    end = text[:most].rfind(separator)
    if end < most // 2:
        return f"{text[:most]} … and {len(text) - most} characters more"
    return f"{text[:end]}{separator}… and {text[end:].count(separator)} more"


def _block(title: str, info: CertificateInfo | None) -> list[str]:
    if info is None:
        return [f"  {title}: none"]
    return [
        f"  {title}: {cut(', '.join(info.names), _SHORT)}",
        f"    subject {cut(info.subject or '(empty)', _NAME)}; issuer {cut(info.issuer, _NAME)}",
        f"    valid {rfc3339(info.not_before)} to {rfc3339(info.not_after)}",
        f"    SHA-256 {info.fingerprint_sha256}; serial {info.serial}",
    ]


def _time(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment else None
