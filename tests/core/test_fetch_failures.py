"""Failures of connections and handshakes: each has its outcome, and says where and what to do."""

from __future__ import annotations

import pytest

from entrypoint.core.fetch_failures import of_connection, of_tls, refuses_the_offer
from entrypoint.core.model import Outcome

PLACE = "certmgr.acme.com port 443"


@pytest.mark.parametrize(
    ("reason", "text", "outcome", "said"),
    [
        ("WRONG_VERSION_NUMBER", "", Outcome.NOT_TLS, "did not answer with TLS (wrong version number)"),
        ("BAD_CERTIFICATE", "", Outcome.MALFORMED, "sent what is no certificate (bad certificate)"),
        (None, "[SSL] ASN1 lib (_ssl.c:1006)", Outcome.MALFORMED, "sent what is no certificate (asn1 lib)"),
        ("BAD_SIGNATURE", "", Outcome.HANDSHAKE_FAILED, "the signature does not fit its certificate, bad signature"),
        ("NO_SHARED_CIPHER", "", Outcome.HANDSHAKE_FAILED, "TLS handshake failed (no shared cipher)"),
    ],
)
def test_handshakes(reason: str | None, text: str, outcome: Outcome, said: str) -> None:
    """OpenSSL's reasons, named or not, in words."""
    problem = of_tls(PLACE, reason, text).problem
    assert problem.outcome is outcome
    assert problem.detail.startswith(f"{PLACE}: ")
    assert said in problem.detail
    assert ("really CertMgr" in problem.hint) == ("SIGNATURE" in (reason or ""))


@pytest.mark.parametrize(("reason", "refuses"), [("NO_SHARED_CIPHER", True), ("BAD_SIGNATURE", False), (None, False)])
def test_an_offer_that_is_refused(reason: str | None, refuses: bool) -> None:
    """Only where the offer is to blame can another one help."""
    assert refuses_the_offer(reason) is refuses


@pytest.mark.parametrize(
    ("error", "resolved", "connected", "said"),
    [
        (OSError(-2, "Name or service not known"), False, False, "its name was not resolved (Name"),
        (ConnectionRefusedError(111, "refused"), True, False, "the connection was refused"),
        (ConnectionResetError(104, "reset"), True, True, "reset or closed during the TLS handshake"),
        (OSError(113, "No route to host"), True, False, "no connection (No route to host)"),
        (ConnectionAbortedError("gone"), True, False, "no connection (gone)"),
    ],
)  # fmt: skip
def test_connections(error: OSError, resolved: bool, connected: bool, said: str) -> None:
    """All of them are unreachable; a name that is not resolved is about name servers."""
    problem = of_connection(PLACE, error, resolved=resolved, connected=connected).problem
    assert problem.outcome is Outcome.UNREACHABLE
    assert said in problem.detail
    assert ("resolv.conf" in problem.hint) is not resolved
