"""Why no chain was presented: the outcome, the words and the hint for a connection or a TLS handshake that failed."""

from __future__ import annotations

import re

from entrypoint.core.model import Outcome, Refused

_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "BAD_RECORD_TYPE",
)
_MALFORMED = ("EXCESSIVE_MESSAGE_SIZE", "CERT_LENGTH_MISMATCH", "BAD_CERTIFICATE", "LENGTH_MISMATCH", "ASN1")
_NO_OFFER = (
    "HANDSHAKE_FAILURE",
    "PROTOCOL_VERSION",
    "NO_SHARED_CIPHER",
    "UNSUPPORTED_PROTOCOL",
    "INTERNAL_ERROR",
)
NAME_SERVER = "is the name in CERTMGR_HOST right, and does the name server in this container's /etc/resolv.conf answer?"
_HINTS = {
    Outcome.UNREACHABLE: "is CERTMGR_HOST right, is Domino's HTTP task running there, is a firewall between?",
    Outcome.NOT_TLS: "is the port in CERTMGR_HOST Domino's HTTPS port?",
    Outcome.HANDSHAKE_FAILED: "does the Domino server offer TLS 1.2 and a certificate of the key's type?",
}


def refused(outcome: Outcome, place: str, what: str, hint: str = "") -> Refused:
    """What ``place`` (host and port) did, with the outcome's usual hint where there is no better one."""
    return Refused(outcome, f"{place}: {what}", hint or _HINTS.get(outcome, ""))


def of_tls(place: str, reason: str | None, text: str) -> Refused:
    """A handshake that failed for a reason of OpenSSL's; some have no name: "[SSL] ASN1 lib (_ssl.c:1006)"."""
    reason = reason or re.sub(r"^\[.*?\] |\(_ssl.*", "", text).strip().upper()
    words = reason.lower().replace("_", " ")
    if any(word in reason for word in _NOT_TLS):
        return refused(Outcome.NOT_TLS, place, f"did not answer with TLS ({words})")
    if any(word in reason for word in _MALFORMED):
        return refused(Outcome.MALFORMED, place, f"sent what is no certificate ({words})")
    hint = ""
    if "SIGNATURE" in reason:
        words = f"the signature does not fit its certificate, {words}"
        hint = "whoever answers presents your certificate without holding its key: is it really CertMgr?"
    return refused(Outcome.HANDSHAKE_FAILED, place, f"TLS handshake failed ({words})", hint)


def refuses_the_offer(reason: str | None) -> bool:
    """Whether the server may do with another protocol version or kind of certificate."""
    return any(word in (reason or "") for word in _NO_OFFER)


def of_connection(place: str, error: OSError, *, resolved: bool, connected: bool) -> Refused:
    """A connection that failed or ended."""
    if not resolved:
        return refused(Outcome.UNREACHABLE, place, f"its name was not resolved ({error.strerror})", NAME_SERVER)
    if isinstance(error, ConnectionRefusedError):
        what = "the connection was refused"
    elif connected:
        what = "the connection was reset or closed during the TLS handshake"
    else:
        what = f"no connection ({error.strerror or error})"
    return refused(Outcome.UNREACHABLE, place, what)
