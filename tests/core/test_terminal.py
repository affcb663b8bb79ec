"""Status for a person: everything that matters, in colour where that is asked for."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from entrypoint.core import status, terminal
from entrypoint.core.model import CertificateInfo, KeyType, Outcome, Problem, State
from entrypoint.core.status import Record

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
INFO = CertificateInfo(
    names=("www.acme.io", "acme.io"),
    subject="CN=www.acme.io",
    issuer="CN=Issuing CA",
    serial="0A:0B",
    fingerprint_sha256="ab" * 32,
    key_type=KeyType.ECDSA,
    spki=b"",
    not_before=NOW - timedelta(days=10),
    not_after=NOW + timedelta(days=80),
)
SERVED = Record("www.acme.io", ("www.acme.io",), served=INFO, key_type=KeyType.ECDSA, certmgr="certmgr.acme.com")


def _status(*records: Record) -> dict[str, Any]:
    return status.status(records, generation=7, nginx={"version": "1.31.3"}, now=NOW, interval=300)


def test_served() -> None:
    """What is served: state, outcome, names, issuer, dates, fingerprint, serial, source."""
    record = replace(status.checked(SERVED, None, Outcome.UNCHANGED, NOW), changed_at=NOW, next_check_at=NOW)
    text = terminal.overview(_status(record))
    assert text.splitlines()[0] == "generation 7, NGINX 1.31.3, updated 2026-03-01T12:00:00Z"
    assert text.splitlines()[1] == "www.acme.io (ecdsa): serving, last check unchanged"
    for fact in ("www.acme.io, acme.io", "CN=Issuing CA", "80 days left", "ab" * 32, "0A:0B", "certmgr.acme.com"):
        assert fact in text
    assert "problem" not in text
    assert "None" not in text


def test_pending() -> None:
    """What is wrong and what to do; nothing of a certificate that is not there."""
    problem = Problem(Outcome.UNREACHABLE, "certmgr.acme.com port 443: refused", "is it up?")
    entry = _status(status.checked(Record("b.io", ("b.io",)), problem, Outcome.INSTALLED, NOW))["certificates"][0]
    text = terminal.certificate(entry)
    assert text.splitlines()[0] == "b.io: pending, last check unreachable"
    assert "problem  certmgr.acme.com port 443: refused" in text
    assert "hint     is it up?" in text
    assert "SHA-256" not in text


def test_the_users_files() -> None:
    """What does not run of them, where it is written and why; a problem with all comes first, warnings last."""
    refused = Problem(Outcome.CONFIG_REJECTED, 'unexpected "}" in /etc/nginx/nginx.conf:3')
    gone = {"/etc/nginx/conf.d/a.conf:1": "no key"}
    odd = [("/etc/nginx/conf.d/b.conf:2", "no effect")]
    found = status.status(
        (), generation=1, nginx={}, now=NOW, interval=300, commented_out=gone, warnings=odd, problem=refused
    )
    assert found["configuration"]["warnings"] == [{"where": "/etc/nginx/conf.d/b.conf:2", "reason": "no effect"}]
    assert terminal.overview(found).splitlines()[-3:] == [
        'configuration: unexpected "}" in /etc/nginx/nginx.conf:3',
        "commented out: /etc/nginx/conf.d/a.conf:1: no key",
        "warning: /etc/nginx/conf.d/b.conf:2: no effect",
    ]


def test_nothing() -> None:
    """Neither a site nor a check yet: it says so."""
    assert "no server needs one" in terminal.overview(_status())
    unchecked = terminal.certificate(_status(Record("b.io", ("b.io",)))["certificates"][0])
    assert "last check not yet" in unchecked


def test_starting() -> None:
    """Before the first check nobody knows who needs a certificate: what the start wrote says so."""
    text = terminal.overview(status.status((), generation=7, nginx={}, now=NOW, interval=300))
    assert "starting" in text
    assert "no server needs one" not in text


@pytest.mark.parametrize("state", list(State))
def test_every_state(state: State) -> None:
    """Every state has its colour, where that is asked for."""
    entry = {**_status(SERVED)["certificates"][0], "state": state}
    assert f": {state}, " in terminal.certificate(entry)
    assert re.search(rf": \x1b\[3\dm{state}\x1b\[0m, ", terminal.certificate(entry, colour=True))
